package trace

import (
	"strings"
	"testing"
	"time"
)

func TestKubeEnergyFiles(t *testing.T) {
	nodes, err := KubeEnergyNodes("n.csv", strings.NewReader("name,cpu,mem,ci_profile,site_id,peak_power_w\na,16,64,sine:300:100:86400,s1,400\nb,8,32,static:50\n"))
	if err != nil {
		t.Fatal(err)
	}
	if len(nodes) != 2 || nodes[0].PeakWatts != 400 || nodes[1].Intensity.At(time.Hour, 0) != 50 || nodes[0].Site != "s1" {
		t.Errorf("%+v", nodes)
	}
	if got := nodes[0].Intensity.At(6*time.Hour, 0); got < 399.9 || got > 400.1 {
		t.Errorf("a quarter of the period gives %v, want 400", got)
	}
	if a, b := nodes[0].Intensity.String(), nodes[1].Intensity.String(); a != "sine:300:100:86400" || b != "static:50" {
		t.Errorf("profiles read %s and %s", a, b)
	}
	m, err := nodes[0].Model()
	if err != nil || m.Idle() != 60 || m.Peak() != 400 {
		t.Errorf("model %v W to %v W, %v", m.Idle(), m.Peak(), err)
	}
	sites, err := KubeEnergySites("s.csv", strings.NewReader("s1,1.2,1,DE\n"))
	if err != nil || len(sites) != 1 || sites[0] != (KubeEnergySite{"s1", 1.2, 1, "DE"}) {
		t.Errorf("%+v, %v", sites, err)
	}
	for _, bad := range []string{"a,x,1,static:1\n", "a,1,1,tan:1\n", "a,1,1,sine:1:2:3\n", "a,1\n", "a,1,1,static:1,,x\n", "a,1,1e300,static:1\n", "a,1,1,sine:300:100:1e-320\n"} {
		if _, err := KubeEnergyNodes("n.csv", strings.NewReader(bad)); err == nil {
			t.Errorf("%q passes", bad)
		}
	}
	for what, f := range map[string]func() error{
		"3:1": func() error {
			_, err := KubeEnergyNodes("f", strings.NewReader("a,1,1,static:1\nb,1,1,static:1\na,1,1,static:1\n"))
			return err
		},
		"2:1": func() error {
			_, err := KubeEnergySites("f", strings.NewReader("s,1,1,DE\ns,1,1,DE\n"))
			return err
		},
		"3:3": func() error {
			_, err := OpenbNodes("f", strings.NewReader("gpu,sn,cpu_milli,memory_mib\n0,a,1,1\n0,a,1,1\n"))
			return err
		},
	} {
		if err := f(); err == nil || !strings.HasPrefix(err.Error(), "f:"+what+": ") || !strings.Contains(err.Error(), "twice") {
			t.Errorf("a name that comes twice: %v, want it at %s", err, what)
		}
	}
	walk, err := ParseIntensity("randwalk:100:200:60")
	if err != nil {
		t.Fatal(err)
	}
	for h := range 100 {
		v := walk.At(time.Duration(h)*time.Hour, 1)
		if v < 100 || v > 200 || v != walk.At(time.Duration(h)*time.Hour, 1) {
			t.Fatalf("the walk is at %v", v)
		}
	}
}

// A header tells the order of the columns, and may leave out what the file does not need.
func TestKubeEnergyHeaders(t *testing.T) {
	for text, want := range map[string]KubeEnergyNode{
		"mem,CPU, name ,ci_profile\n64,16,a,static:50\n":                          {Name: "a", Cores: 16, Memory: 64 << 30, Intensity: Intensity{kind: "static", a: 50}},
		"\ufeffname,cpu,mem,site_id,peak_power_w\na,16,64,s1,400\n":               {Name: "a", Cores: 16, Memory: 64 << 30, Site: "s1", PeakWatts: 400},
		"name,cpu,mem,ci_profile,site_id,peak_power_w,,\na,16,64,,s1,400,,\n":     {Name: "a", Cores: 16, Memory: 64 << 30, Site: "s1", PeakWatts: 400},
		"name,cpu,mem,ci_profile,site_id,peak_power_w\n a,16 ,64,static:50 ,s1\n": {Name: "a", Cores: 16, Memory: 64 << 30, Site: "s1", Intensity: Intensity{kind: "static", a: 50}},
		"name,16,64,,s1,400\n": {Name: "name", Cores: 16, Memory: 64 << 30, Site: "s1", PeakWatts: 400},
		"# ours\nname,cpu,mem,peak_power_w,site_id,ci_profile\na,16,64,400,,static:50": {Name: "a", Cores: 16, Memory: 64 << 30, PeakWatts: 400, Intensity: Intensity{kind: "static", a: 50}},
	} {
		if got, err := KubeEnergyNodes("n.csv", strings.NewReader(text)); err != nil || len(got) != 1 || got[0] != want || got[0].Intensity.IsZero() != (want.Intensity.kind == "") {
			t.Errorf("%q: %+v, %v, want %+v", text, got, err, want)
		}
	}
	for text, want := range map[string]string{
		"name,cpu,mem,site\na,16,64,s1\n": `n.csv:1: unknown column "site"`,
		"name,cpu,site_id\na,16,s1\n":     `n.csv:1: there is no column "mem"`,
		"name,cpu,mem,cpu\na,16,64,1\n":   `n.csv:1: column "cpu" stands twice`,
		"mem,cpu,name\n64,x,a\n":          `n.csv:2:4: cpu "x"`,
		"mem,cpu,name\n64,1\n":            `n.csv:2: the node has no name`,
	} {
		if got, err := KubeEnergyNodes("n.csv", strings.NewReader(text)); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: %v, %v, want %s", text, got, err, want)
		}
	}
	for _, text := range []string{"ci_region,id,k,PUE\nID,s1,1,1.2\n", "s1,1.2,1,ID\n"} {
		if got, err := KubeEnergySites("s.csv", strings.NewReader(text)); err != nil || len(got) != 1 || got[0] != (KubeEnergySite{"s1", 1.2, 1, "ID"}) {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
}
