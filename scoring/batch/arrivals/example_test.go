package arrivals_test

import (
	"fmt"
	"time"

	"github.com/leastwatt/leastwatt/scoring/batch/arrivals"
)

// Four jobs of two cores come at nine o'clock each day, run for half an hour and may wait for three; after five days they are expected on the sixth.
func Example() {
	l := arrivals.New(time.Hour, 0)
	for day := range 5 {
		nine := time.Duration(day)*24*time.Hour + 9*time.Hour
		l.Pass(nine)
		for range 4 {
			l.See(arrivals.Job{Submitted: nine, Cores: 2, Duration: 30 * time.Minute, Slack: 3 * time.Hour, Load: 0.01})
		}
	}
	l.Pass(5 * 24 * time.Hour)
	plan := arrivals.Plan{From: 5 * 24 * time.Hour, Slot: time.Hour, Until: 24, Slots: 36, Energy: []float64{1}}
	for _, j := range l.Expect(plan) {
		if j.Size > 1 {
			fmt.Printf("from %d:00, at the latest %d:00: %.1f cores for %.1f h\n", j.Earliest, j.Latest, j.Size, float64(j.Length-1)+j.Last)
		}
	}
	// Output: from 9:00, at the latest 12:00: 8.0 cores for 0.5 h
}
