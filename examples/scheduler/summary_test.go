package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const shadowed = `# TYPE leastwatt_shadow_decisions_total counter
leastwatt_shadow_decisions_total{profile="default-scheduler",result="same"} 31
leastwatt_shadow_decisions_total{profile="default-scheduler",result="other"} 89
leastwatt_shadow_decisions_total{profile="default-scheduler",result="unknown"} 2
# TYPE leastwatt_shadow_saving_watts gauge
leastwatt_shadow_saving_watts{profile="default-scheduler"} 412.5
# TYPE leastwatt_shadow_saving_joules gauge
leastwatt_shadow_saving_joules{profile="default-scheduler"} 7.2e+06
`

func TestShadowSummary(t *testing.T) {
	run := func(in string, args ...string) (string, error) {
		cmd := newSummary()
		var out bytes.Buffer
		cmd.SetIn(strings.NewReader(in))
		cmd.SetOut(&out)
		cmd.SetErr(&out)
		cmd.SetArgs(args)
		err := cmd.Execute()
		return out.String(), err
	}
	out, err := run(shadowed)
	if err != nil || !strings.Contains(strings.Join(strings.Fields(out), " "), "default-scheduler 31 89 2 0 412.50 – 2.0000 –") {
		t.Errorf("%v:\n%s", err, out)
	}
	file := filepath.Join(t.TempDir(), "metrics")
	text := shadowed + "# TYPE leastwatt_shadow_saving_grams gauge\nleastwatt_shadow_saving_grams{profile=\"default-scheduler\"} 700\n" +
		"# TYPE leastwatt_shadow_saving_grams_per_hour gauge\nleastwatt_shadow_saving_grams_per_hour{profile=\"default-scheduler\"} 150\n" +
		"# TYPE leastwatt_shadow_grams_unknown_seconds_total counter\nleastwatt_shadow_grams_unknown_seconds_total{profile=\"default-scheduler\"} 1800\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := run("", "--json", file); err != nil || !strings.Contains(out, `"savedGrams": 700`) || !strings.Contains(out, `"savedKWh": 2`) {
		t.Errorf("%v:\n%s", err, out)
	}
	if out, err := run(text); err != nil || !strings.Contains(strings.Join(strings.Fields(out), " "), "412.50 150.0 2.0000 700.0") || !strings.Contains(out, "leave out 0.50 h") {
		t.Errorf("%v:\n%s", err, out)
	}
	for in, want := range map[string]string{"": "mode: shadow", "no metrics at all": "metrics:"} {
		if _, err := run(in); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("from %q: error %v: want one with %q", in, err, want)
		}
	}
}
