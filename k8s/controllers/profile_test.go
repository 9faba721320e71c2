package controllers

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/leastwatt/leastwatt/k8s/api/v1alpha1"
	"github.com/leastwatt/leastwatt/k8s/profiles"
)

// Two controllers, of which one makes a profile that the other one takes for a leftover, do not chase each other.
func TestAProfileThatSomebodyRemoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := newSweeper(t, profiles.Options{}, &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1"}})
		creates := 0
		r := &profiler{client: s.client, makers: []Maker{always{}}, problems: newProblems(), count: func(action string) {
			if action == "create" {
				creates++
			}
		}}
		began := time.Now()
		for time.Since(began) < time.Hour && creates <= 20 {
			if err := client.IgnoreNotFound(s.client.Delete(t.Context(), &v1alpha1.NodeProfile{ObjectMeta: metav1.ObjectMeta{Name: "n1"}})); err != nil {
				t.Fatal(err)
			}
			before := creates
			result, err := r.reconcile(t.Context(), "n1") // the watch tells of the removal
			if err != nil {
				t.Fatal(err)
			}
			if creates == before && result.RequeueAfter <= 0 {
				t.Fatal("it is not made, and not looked at again")
			}
			time.Sleep(max(result.RequeueAfter, 10*time.Millisecond))
		}
		if creates < 10 || creates > 20 {
			t.Errorf("within %v it was made %d times, want 1, 2, 4 … 512 s apart", time.Since(began), creates)
		}
		// It is made at once for a node that comes back.
		if err := errors.Join(s.client.Delete(t.Context(), &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1"}}),
			client.IgnoreNotFound(s.client.Delete(t.Context(), &v1alpha1.NodeProfile{ObjectMeta: metav1.ObjectMeta{Name: "n1"}}))); err != nil {
			t.Fatal(err)
		}
		if _, err := r.reconcile(t.Context(), "n1"); err != nil || len(r.written) != 0 {
			t.Errorf("a node that left is remembered: %v, %v", r.written, err)
		}
	})
}

// always is a maker that wants the same of every node.
type always struct{}

// Want implements [Maker].
func (always) Want(context.Context, client.Reader, *v1.Node) (*Wanted, error) {
	return &Wanted{By: "test", Profile: v1alpha1.ProfileTemplate{Spec: v1alpha1.NodeProfileSpec{Hardware: "a"}}}, nil
}

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
