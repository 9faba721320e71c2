package controlplane_test

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/leastwatt/leastwatt/examples/internal/controlplane"
)

// The helm that is built is the one that the folder helm pins.
func TestHelm(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), controlplane.HelmForTest(t), "version", "--short").Output()
	if err != nil || !strings.HasPrefix(string(out), "v4.") {
		t.Errorf("%s, %v", out, err)
	}
}

// So is kubectl.
func TestKubectl(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), controlplane.KubectlForTest(t), "version", "--client", "--output=json").Output()
	if err != nil || !strings.Contains(string(out), "gitVersion") {
		t.Errorf("%s, %v", out, err)
	}
}
