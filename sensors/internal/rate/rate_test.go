package rate_test

import (
	"testing"
	"time"

	"github.com/leastwatt/leastwatt/sensors/internal/rate"
)

func TestRate(t *testing.T) {
	var m rate.Meter
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for i, c := range []struct {
		after       time.Duration
		value, want float64
		ok          bool
	}{
		{0, 1000, 0, false},                         // one value is no rate
		{10 * time.Second, 3000, 200, true},         // 2000 J in 10 s
		{10500 * time.Millisecond, 3900, 200, true}, // too soon
		{20 * time.Second, 4000, 100, true},
		{15 * time.Second, 3500, 100, true}, // an answer that was overtaken
		{30 * time.Second, 10, 0, false},    // reset
		{40 * time.Second, 510, 50, true},
		{50 * time.Second, 510, 0, true}, // nothing drawn
	} {
		got, at, ok := m.Rate("cpu", c.value, start.Add(c.after))
		if got != c.want || ok != c.ok {
			t.Errorf("step %d: %v, %v, want %v, %v", i, got, ok, c.want, c.ok)
		}
		if ok && at.After(start.Add(c.after)) && i != 4 {
			t.Errorf("step %d: measured at %v, after the value", i, at)
		}
	}
	if _, _, ok := m.Rate("other", 1, start); ok {
		t.Error("counters are not told apart")
	}
}
