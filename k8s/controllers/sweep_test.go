package controllers

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/leastwatt/leastwatt/k8s/api/v1alpha1"
	"github.com/leastwatt/leastwatt/k8s/profiles"
	"github.com/leastwatt/leastwatt/scoring"
)

// newSweeper returns a sweeper over a cluster in memory, whose log is returned too.
func newSweeper(t *testing.T, o profiles.Options, objects ...client.Object) (*sweeper, *bytes.Buffer) {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		t.Fatal(err)
	}
	p, err := profiles.New(o)
	if err != nil {
		t.Fatal(err)
	}
	log := new(bytes.Buffer)
	return &sweeper{client: fake.NewClientBuilder().WithScheme(scheme).WithStatusSubresource(&v1alpha1.NodeProfile{}, &v1alpha1.NodeProfileTemplate{}, &v1alpha1.PowerModel{}).WithObjects(objects...).Build(), provider: p, problems: newProblems(), census: newCensus(),
		count: func(string) {}, every: 5 * time.Second, period: 10 * time.Minute, learned: -1, read: make(map[string]bool), log: slog.New(slog.NewTextHandler(log, nil))}, log
}

// A late source cannot be read at first.
type late struct{ err error }

func (*late) Name() string { return "Late" }

func (l *late) PowerModels(context.Context) ([]v1alpha1.PowerModel, error) { return nil, l.err }

// When a source of models can be read, at first or again, every node is looked at: it may ask for profiles as well, which it could not before.
func TestASourceThatCanBeRead(t *testing.T) {
	s, _ := newSweeper(t, profiles.Options{})
	l, again := new(late), make(chan event.GenericEvent, 1)
	s.models, s.again = []ModelSource{l}, again
	for i, c := range []struct {
		err  error
		want int
	}{{errors.New("away"), 0}, {nil, 1}, {nil, 0}, {errors.New("away"), 0}, {nil, 1}} {
		l.err = c.err
		if err := s.foreign(t.Context()); (err == nil) != (c.err == nil) {
			t.Fatal(err)
		}
		if len(again) != c.want {
			t.Errorf("sweep %d: nodes are looked at again %d times, want %d", i, len(again), c.want)
		}
		for len(again) > 0 {
			<-again
		}
	}
}

// A sweep tells the log of nodes whose profile is not what is asked for: objects of other systems have no status of ours.
func TestSweepTellsProblems(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, log := newSweeper(t, profiles.Options{})
		s.problems.set("n1", "NodeConfig.node.waok8s.github.io/wao/n1", errors.New("metricsCollector.inletTemp: type Fake"))
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- s.Start(ctx) }()
		time.Sleep(6 * time.Second)
		cancel()
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(log.String(), "type Fake") {
			t.Errorf("the log says %q", log)
		}
	})
}

// A template tells which other ones have the profiles of nodes that it fits, in the same words at each sweep.
func TestSweepTellsWhichTemplateGoesBefore(t *testing.T) {
	var objects []client.Object
	template := func(name string, priority int32) *v1alpha1.NodeProfileTemplate {
		x := &v1alpha1.NodeProfileTemplate{ObjectMeta: metav1.ObjectMeta{Name: name, Generation: 1}, Spec: v1alpha1.NodeProfileTemplateSpec{Priority: priority}}
		objects = append(objects, x)
		return x
	}
	low := template("low", 0)
	template("high", 1)
	template("middle", 1)
	for node, by := range map[string]string{"n1": "high", "n2": "high", "n3": "middle", "n4": "low"} {
		objects = append(objects, &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: node}},
			&v1alpha1.NodeProfile{ObjectMeta: metav1.ObjectMeta{Name: node, Annotations: map[string]string{MadeBy: "NodeProfileTemplate/" + by}}})
	}
	s, _ := newSweeper(t, profiles.Options{}, objects...)
	var writes atomic.Int32 // several are written at once
	s.count = func(string) { writes.Add(1) }
	for range 3 {
		if err := s.templates(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if n := writes.Load(); n != 3 {
		t.Errorf("three sweeps over three templates wrote %d times, want once each", n)
	}
	if err := s.client.Get(t.Context(), client.ObjectKeyFromObject(low), low); err != nil {
		t.Fatal(err)
	}
	c := meta.FindStatusCondition(low.Status.Conditions, Ready)
	want := "of 4 nodes that fit, 2 have the profile of NodeProfileTemplate/high, 1 NodeProfileTemplate/middle"
	if low.Status.Matching != 4 || low.Status.Profiles != 1 || c == nil || c.Status != metav1.ConditionTrue || c.Message != want {
		t.Errorf("%+v %+v: want %q", low.Status, c, want)
	}
}

// A sweep writes another reason of a failure into a status in which nothing else has changed, once the last write is old enough.
func TestSweepWritesNewReasons(t *testing.T) {
	var code atomic.Int32
	code.Store(http.StatusInternalServerError)
	asked := make(chan struct{}, 1)
	exporter := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		select {
		case asked <- struct{}{}:
		default:
		}
		w.WriteHeader(int(code.Load()))
	}))
	defer exporter.Close()
	n := &v1alpha1.NodeProfile{ObjectMeta: metav1.ObjectMeta{Name: "n1", Generation: 1}, Spec: v1alpha1.NodeProfileSpec{Sensors: []v1alpha1.Sensor{{Name: "kepler", Type: "kepler", URL: exporter.URL}}}}
	s, _ := newSweeper(t, profiles.Options{Interval: 20 * time.Millisecond}, &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1"}}, n)
	s.provider.Put(scoring.Machine{Name: "n1", Cores: 4})
	s.provider.SetProfile(n.DeepCopy())
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.provider.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	// sweep sweeps until the provider reports a text, and once more; it returns what the status says then.
	sweep := func(text string) string {
		t.Helper()
		late := time.After(time.Minute)
		for r := s.provider.Report("n1"); len(r.Sensors) != 1 || !r.Known || !strings.Contains(r.Sensors[0].Message, text); r = s.provider.Report("n1") {
			select {
			case <-asked: // and so again every 20 ms: what the last answer said is known by now
			case <-late:
				t.Fatalf("the sensor does not say %q: %+v", text, r)
			}
		}
		if err := s.profiles(t.Context()); err != nil {
			t.Fatal(err)
		}
		var now v1alpha1.NodeProfile
		if err := s.client.Get(t.Context(), client.ObjectKeyFromObject(n), &now); err != nil {
			t.Fatal(err)
		}
		if len(now.Status.Sensors) != 1 {
			t.Fatalf("the status is %+v", now.Status)
		}
		return now.Status.Sensors[0].Message
	}
	if got := sweep("500"); !strings.Contains(got, "500") {
		t.Fatalf("the first status says %q", got)
	}
	code.Store(http.StatusNotFound)
	if got := sweep("404"); !strings.Contains(got, "500") {
		t.Errorf("right after a write the status says %q: want what it said", got)
	}
	s.wrote["n1"] = time.Now().Add(-newMessage)
	if got := sweep("404"); !strings.Contains(got, "404") {
		t.Errorf("after a while the status says %q: want the new reason", got)
	}
}
