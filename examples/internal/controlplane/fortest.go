package controlplane

import (
	"errors"
	"os"
	"testing"
)

// ForTest returns the binaries for a test. No test builds a control plane in its own time: it is
// skipped where the cache lacks one, unless LEASTWATT_E2E=1 asks for it. The scheduler alone, import
// path scheduler ("" for none), is always built, which takes seconds where the test was just compiled.
func ForTest(t testing.TB, scheduler string) Binaries {
	t.Helper()
	b := Builder{Scheduler: scheduler, Progress: t.Output()}
	if os.Getenv("LEASTWATT_E2E") != "1" {
		if _, err := b.Cached(t.Context()); errors.Is(err, ErrNotBuilt) {
			t.Skipf("%v: `go run ./examples/cluster` builds it, or set LEASTWATT_E2E=1", err)
		} else if err != nil {
			t.Fatal(err)
		}
	}
	bin, err := b.Build(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return bin
}
