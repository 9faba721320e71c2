package controllers

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/leastwatt/leastwatt/k8s/api/v1alpha1"
)

// What was written and is not there any more is written again after 1, 2, 4 and so on up to 512 s: somebody else wants
// it otherwise. Something new is written at once.
func TestTwoWriters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &profiler{problems: newProblems(), count: func(string) {}}
		want := func(hardware string) *Wanted {
			return &Wanted{By: "test", Profile: v1alpha1.ProfileTemplate{Spec: v1alpha1.NodeProfileSpec{Hardware: hardware}}}
		}
		for i := range 12 {
			if err := r.wrote("n1", want("a"), nil); err != nil {
				t.Fatal(err)
			}
			pause := time.Second << min(i, 9)
			if got := r.patience("n1", want("a")); got != pause {
				t.Errorf("after write %d it waits %v: want %v", i+1, got, pause)
			}
			if got := r.patience("n1", want("b")); got != 0 {
				t.Errorf("something new waits %v", got)
			}
			time.Sleep(pause)
			if got := r.patience("n1", want("a")); got != 0 {
				t.Errorf("after %v it still waits %v", pause, got)
			}
		}
		r.forget("n1")
		if err := r.wrote("n1", want("a"), nil); err != nil || r.patience("n1", want("a")) != time.Second {
			t.Errorf("a node that left is remembered: %v", err)
		}
	})
}
