package scheduler

import (
	"strings"
	"testing"
	"time"

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
	full := &annotator{queue: make(chan annotation)}
	full.write(t.Context(), annotation{})
}
