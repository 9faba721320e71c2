package power_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/leastwatt/leastwatt/power"
)

func TestServersTable(t *testing.T) {
	all := power.Servers()
	modern, vendors, names := 0, map[string]bool{}, map[string]bool{}
	for _, s := range all {
		name := s.Name()
		if s.Year < 2008 || s.Year > 2022 {
			t.Errorf("%s: year %d", name, s.Year)
		}
		if s.Year >= 2017 {
			modern++
		}
		vendors[s.Vendor] = true
		if names[strings.ToLower(name)] {
			t.Errorf("%s is in the table twice", name)
		}
		names[strings.ToLower(name)] = true
		if !strings.Contains(s.Source(), "SPEC") || !strings.Contains(s.Source(), s.Published) {
			t.Errorf("%s: source %q", name, s.Source())
		}
		c := s.Curve()
		if _, err := power.NewPiecewise(c.Knots()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for k, w := range s.Watts {
			if got := c.At(float64(k) / 10); got != w {
				if d := got - w; d > 1e-9 || d < -1e-9 {
					t.Errorf("%s at %d0 %%: %v, published %v", name, k, got, w)
				}
			}
		}
		if !slices.IsSorted(s.Watts[:]) {
			t.Errorf("%s: watts fall somewhere: %v", name, s.Watts)
		}
		if v := s.Speed(); v < 0.3 || v > 2 {
			t.Errorf("%s: speed %.2f", name, v)
		}
		if c := s.Capacity(); c.Work() != c.Cores*s.Speed() || c.Cores < float64(s.Cores) {
			t.Errorf("%s: capacity %+v", name, c)
		}
		found, err := power.FindServer(strings.ToUpper(strings.ReplaceAll(name, " ", "  ")))
		if err != nil || found != s {
			t.Errorf("FindServer(%q): %v, %v", name, found.Name(), err)
		}
	}
	if len(all) < 40 || modern < 16 || len(vendors) < 10 {
		t.Errorf("%d servers, %d from 2017 on, %d vendors", len(all), modern, len(vendors))
	}
	if !slices.IsSortedFunc(all, func(a, b power.Server) int {
		if a.Year != b.Year {
			return a.Year - b.Year
		}
		return strings.Compare(strings.ToLower(a.Name()), strings.ToLower(b.Name()))
	}) {
		t.Error("the table is not in order")
	}
	all[0].Vendor = "changed"
	if power.Servers()[0].Vendor == "changed" {
		t.Error("Servers gives away its own slice")
	}
}

func TestFindServer(t *testing.T) {
	if s, err := power.FindServer("poweredge r740"); err != nil || s.Name() != "Dell PowerEdge R740" {
		t.Errorf("by model alone: %v, %v", s.Name(), err)
	}
	if _, err := power.FindServer("Commodore 64"); !errors.Is(err, power.ErrNoModel) {
		t.Errorf("unknown server: %v, want ErrNoModel", err)
	}
}

func TestSpeedOfUnknownIsUnknown(t *testing.T) {
	if s := power.Speed(0, 8); s != 0 {
		t.Errorf("no throughput: %v", s)
	}
	if s := power.Speed(1e6, 0); s != 0 {
		t.Errorf("no threads: %v", s)
	}
	if w := (power.Capacity{Cores: 8}).Work(); w != 8 {
		t.Errorf("work at unknown speed: %v, want 8", w)
	}
}

func ExampleFindServer() {
	s, err := power.FindServer("PowerEdge R740")
	if err != nil {
		panic(err)
	}
	fmt.Println(s.Name(), s.Year, s.Threads, "threads")
	fmt.Println(s.Curve().At(0), s.Curve().At(0.45), s.Curve().At(1))
	// Output:
	// Dell PowerEdge R740 2017 112 threads
	// 52.30 W 209.50 W 457.00 W
}
