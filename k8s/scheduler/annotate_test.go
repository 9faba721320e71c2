package scheduler

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

func (h *fakeHandle) ClientSet() kubernetes.Interface { return h.client }

func TestAnnotate(t *testing.T) {
	s := newSite(line(t, "cheap", 10, 50, 5), line(t, "dear", 10, 50, 30))
	for _, sp := range s.specs {
		s.fleet.Put(sp)
	}
	h := newHandle()
	f, err := New(func(string) (Setup, error) { return Setup{Site: s}, nil }, Options{})
	if err != nil {
		t.Fatal(err)
	}
	web := pod("web", "2")
	if _, err := h.client.CoreV1().Pods("default").Create(t.Context(), web, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	pl, err := f(t.Context(), rawArgs(`{"annotate":true}`), h)
	if err != nil {
		t.Fatal(err)
	}
	p := pl.(*Plugin)
	s.refresh(t, s.now, 0.5)
	cycle(t, p, web, s.infos())
	p.Reserve(t.Context(), newState(), web, "cheap")
	p.PostBind(t.Context(), newState(), web, "cheap")
	for {
		got, err := h.client.CoreV1().Pods("default").Get(t.Context(), "web", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if note := got.Annotations[DecisionAnnotation]; note != "" {
			if !strings.HasPrefix(note, "cheap is predicted to draw +10.00 W for it") {
				t.Errorf("the note is %q", note)
			}
			break
		}
		time.Sleep(time.Millisecond)
	}
	for _, a := range h.client.Actions() {
		if a.Matches("patch", "pods") && !a.Matches("patch", "pods/status") {
			t.Errorf("patched %v: want the status alone, which kube-scheduler may patch", a)
		}
	}
	// Nobody waits when the API server is slow.
	dropped := prometheus.NewCounter(prometheus.CounterOpts{})
	full := &annotator{queue: make(chan annotation), dropped: dropped}
	full.write(t.Context(), annotation{})
	if n := testutil.ToFloat64(dropped); n != 1 {
		t.Errorf("%v dropped annotations are counted: want 1", n)
	}
}

// Each pod of a burst is told of, however few decisions are kept; a pod that did not get there is not, nor kept.
func TestBurstIsToldOf(t *testing.T) {
	s := newSite(line(t, "cheap", 100, 50, 5), line(t, "dear", 100, 50, 30))
	p := s.start(t, `{"keepDecisions":3}`)
	got := new(events)
	dropped := prometheus.NewCounter(prometheus.CounterOpts{})
	p.events, p.told = got, newTold(dropped)
	s.refresh(t, s.now, 0.1)
	infos := s.infos()
	var pods []*v1.Pod
	for i := range 50 {
		pods = append(pods, pod(fmt.Sprint("p", i), "1"))
		cycle(t, p, pods[i], infos)
		p.Reserve(t.Context(), newState(), pods[i], "cheap")
	}
	for i, pd := range pods {
		if i == 7 {
			p.Unreserve(t.Context(), newState(), pd, "cheap")
		}
		p.PostBind(t.Context(), newState(), pd, "cheap")
	}
	if len(*got) != 49 || !strings.Contains((*got)[0], "cheap is predicted to draw +5.00 W for it") || !strings.Contains((*got)[0], "of 2 candidates 2 were known") {
		t.Errorf("%d events, the first %q: want one for each of 49 pods", len(*got), (*got)[:min(1, len(*got))])
	}
	if len(p.told.pods) != 0 {
		t.Errorf("%d pods are still kept", len(p.told.pods))
	}
	// What is kept has a bound, and what it costs is counted.
	p.told.most = 10
	for _, pd := range pods[:12] {
		p.Reserve(t.Context(), newState(), pd, "cheap")
	}
	if n := testutil.ToFloat64(dropped); n != 2 || len(p.told.pods) != 10 {
		t.Errorf("%d are kept and %v counted as dropped: want 10 and 2", len(p.told.pods), n)
	}
}
