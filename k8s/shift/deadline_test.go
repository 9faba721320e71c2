package shift

import (
	"testing"
	"time"
)

// A deadline, or a delay, that is written or brought forward after the plan was made counts: the time that was promised before would be too late. One that is put
// off does not take back what was promised, and neither does a policy that changes.
func TestASoonerDeadlineCounts(t *testing.T) {
	at := func(hours float64) string {
		return noon.Add(time.Duration(hours * float64(time.Hour))).Format(time.RFC3339)
	}
	for name, c := range map[string]struct {
		before, after map[string]string
		want          string
	}{
		"written":         {nil, map[string]string{DeadlineAnnotation: at(12.2)}, at(11)},
		"brought forward": {map[string]string{DeadlineAnnotation: at(15.2)}, map[string]string{DeadlineAnnotation: at(12.2)}, at(11)},
		"longer work":     {map[string]string{DeadlineAnnotation: at(15.2)}, map[string]string{DurationAnnotation: "3h"}, at(11.6)},
		"less delay":      {nil, map[string]string{MaxDelayAnnotation: "11h"}, at(11)},
		"put off":         {map[string]string{DeadlineAnnotation: at(12.2)}, map[string]string{DeadlineAnnotation: at(15.2)}, at(11)},
		"nothing":         {nil, nil, at(14)},
	} {
		l := newLab(t, "default: {zone: DE, maxDelay: 14h}\n", pod("p", noon, c.before))
		l.round()
		p := l.pod("p")
		for k, v := range c.after {
			if p.Annotations == nil {
				p.Annotations = make(map[string]string)
			}
			p.Annotations[k] = v
		}
		if err := l.c.Update(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		l.restart("default: {zone: DE, maxDelay: 1h}\n")
		l.round()
		if !gated(l.pod("p")) {
			t.Errorf("%s: not held for the night", name)
		}
		if got := l.pod("p").Annotations[ReleaseByAnnotation]; got != c.want {
			t.Errorf("%s: to be released by %s, want %s", name, got, c.want)
		}
		want, err := time.Parse(time.RFC3339, c.want)
		if err != nil {
			t.Fatal(err)
		}
		l.now = want
		if l.round(); gated(l.pod("p")) {
			t.Errorf("%s: held beyond its latest start", name)
		}
	}
}

// What releases by the annotation alone knows no namespace's margin, and releases by what was promised.
func TestReleaseOverdueGoesByThePromise(t *testing.T) {
	l := newLab(t, zoneDE, pod("p", noon, map[string]string{DeadlineAnnotation: "2024-06-03T17:00:00Z", DurationAnnotation: "1h", ReleaseByAnnotation: "2024-06-03T16:00:00Z"}))
	for _, x := range []struct {
		minute, want int
	}{{3*60 + 54, 0}, {4 * 60, 1}, {4*60 + 1, 0}} {
		if n, err := ReleaseOverdue(t.Context(), l.c, false, noon.Add(time.Duration(x.minute)*time.Minute)); err != nil || n != x.want {
			t.Errorf("after %d minutes %d were released, %v, want %d", x.minute, n, err, x.want)
		}
	}
}
