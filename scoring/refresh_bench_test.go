package scoring_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/scoring"
	"github.com/leastwatt/leastwatt/sensors"
)

// BenchmarkRefresh5000 is what joining readings and models costs in the background, with models that follow
// the inlet temperature, which stays or changes between two refreshes.
func BenchmarkRefresh5000(b *testing.B) {
	for _, changing := range []bool{false, true} {
		b.Run(fmt.Sprintf("changing=%v", changing), func(b *testing.B) {
			base, err := power.EvenPiecewise(50, 80, 90, 100, 110, 120, 130, 140, 160, 180, 200)
			if err != nil {
				b.Fatal(err)
			}
			p, err := power.NewInlet(base, power.PublishedInletResponse())
			if err != nil {
				b.Fatal(err)
			}
			f := scoring.NewFleet(scoring.FleetOptions{})
			now := time.Unix(1_800_000_000, 0)
			snaps := make([]*sensors.Snapshot, 1) // of one temperature each
			if changing {
				snaps = make([]*sensors.Snapshot, 7)
			}
			for k := range snaps {
				m := make(map[string]*sensors.NodeReadings)
				for i := range 5000 {
					name := fmt.Sprintf("node-%05d", i)
					m[name] = &sensors.NodeReadings{Node: name, Readings: []sensors.Reading{
						{Kind: sensors.CPUUtilization, Value: 0.3, At: now}, {Kind: sensors.InletTemp, Value: 23 + float64(k), At: now}, {Kind: sensors.Power, Value: 120, At: now}}}
				}
				snaps[k] = sensors.NewSnapshot(now, m)
			}
			for i := range 5000 {
				f.Put(scoring.Spec{Name: fmt.Sprintf("node-%05d", i), Capacity: power.Capacity{Cores: 64}, Predictor: p})
			}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if err := f.Refresh(b.Context(), snaps[i%len(snaps)], now); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
