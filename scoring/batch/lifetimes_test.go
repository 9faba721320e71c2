package batch

import (
	"testing"
	"time"
)

func TestLifetimes(t *testing.T) {
	var l Lifetimes
	if got := l.Remaining("a", 0); got != 0 {
		t.Errorf("nothing is known, yet %v", got)
	}
	for range 100 {
		l.Observe("short", time.Minute)
		l.Observe("long", 10*time.Hour)
	}
	near := func(what string, got, want time.Duration) {
		t.Helper()
		if got < want*8/10 || got > want*12/10 {
			t.Errorf("%s: %v, want about %v", what, got, want)
		}
	}
	near("a new short job", l.Remaining("short", 0), 20*time.Minute) // 8 of 108 are as the whole
	near("a new long job", l.Remaining("long", 0), 9*time.Hour+40*time.Minute)
	near("an unknown class", l.Remaining("?", 0), 5*time.Hour)
	near("a short job that outlived its class", l.Remaining("short", 2*time.Hour), 8*time.Hour)
	near("a job older than any", l.Remaining("long", 100*time.Hour), 100*time.Hour)
	// The longer it has run, the longer it is expected to live in all.
	for _, class := range []string{"short", "long", "?"} {
		var before time.Duration
		for age := time.Second; age < 1000*time.Hour; age *= 2 {
			total := age + l.Remaining(class, age)
			if total < before {
				t.Errorf("%s: expected life falls from %v to %v at age %v", class, before, total, age)
			}
			before = total
		}
	}
}
