package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"math"
	"os"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/leastwatt/leastwatt/examples/internal/controlplane"
)

// The whole path, small: real components, sensors over the network, and the laws of its output. The cluster is kept
// until an interrupt, which is what was asked for and no error.
func TestRun(t *testing.T) {
	controlplane.ForTest(t, "")
	t.Setenv("TMPDIR", t.TempDir())
	o, err := parseOptions(strings.Fields("-nodes 8 -pods 30 -load 0.4 -seed 2 -json -keep"), t.Output())
	if err != nil {
		t.Fatal(err)
	}
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	kept := 0
	var out strings.Builder
	if err := run(ctx, o, &out, &writerFunc{func(p []byte) {
		_, _ = t.Output().Write(p)
		if _, path, ok := strings.Cut(string(p), "export KUBECONFIG="); ok {
			kept = podsRunning(t, strings.TrimSpace(path))
			interrupt()
		}
	}}); err != nil {
		t.Fatal(err)
	}
	if kept != 30 {
		t.Errorf("the cluster that is kept runs %d pods, want 30", kept)
	}
	var r report
	if err := json.Unmarshal([]byte(out.String()), &r); err != nil {
		t.Fatalf("stdout is not one JSON object: %v\n%s", err, out.String())
	}
	t.Log(out.String())
	if r.Nodes != 8 || r.Pods != 30 || r.Load != 0.4 || len(r.Profiles) != 2 {
		t.Fatalf("the report is of another run: %s", out.String())
	}
	for i, name := range []string{"default-scheduler", "leastwatt"} {
		p := r.Profiles[i]
		if p.Name != name || p.Placed != 30 {
			t.Errorf("profile %d is %s with %d pods placed, want %s with all 30", i, p.Name, p.Placed, name)
		}
		if p.OverBound < 1 || math.Abs(p.OverBound-p.Watts/r.BoundWatts) > 0.001 {
			t.Errorf("%s: %v W are %v over the bound of %v W", name, p.Watts, p.OverBound, r.BoundWatts)
		}
		if !(p.ScheduleMillisPerPod > 0) {
			t.Errorf("%s takes %v ms a pod", name, p.ScheduleMillisPerPod)
		}
	}
	if a, b := r.Profiles[0].Watts, r.Profiles[1].Watts; b > a {
		t.Errorf("leastwatt draws %v W, more than the default scheduler's %v W", b, a)
	}
	if left, err := os.ReadDir(os.TempDir()); err != nil || len(left) > 0 {
		t.Errorf("the run leaves %v behind (%v)", left, err)
	}
}

// podsRunning asks the cluster of a kubeconfig.
func podsRunning(t *testing.T, kubeconfig string) int {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		t.Error(err)
		return 0
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Error(err)
		return 0
	}
	pods, err := client.CoreV1().Pods(namespace).List(t.Context(), metav1.ListOptions{FieldSelector: "status.phase=Running"})
	if err != nil {
		t.Error(err)
		return 0
	}
	return len(pods.Items)
}

// An interrupt ends the run at once, with its cause, and leaves nothing.
func TestInterrupt(t *testing.T) {
	controlplane.ForTest(t, "")
	t.Setenv("TMPDIR", t.TempDir())
	o, err := parseOptions([]string{"-nodes", "4", "-pods", "8"}, t.Output())
	if err != nil {
		t.Fatal(err)
	}
	interrupt := errors.New("interrupt")
	ctx, cancel := context.WithCancelCause(t.Context())
	err = run(ctx, o, &writerFunc{func(p []byte) {
		if strings.Contains(string(p), "kube-apiserver") {
			cancel(interrupt)
		}
	}}, io.Discard)
	if !errors.Is(err, interrupt) {
		t.Errorf("run = %v, want the interrupt", err)
	}
	if left, err := os.ReadDir(os.TempDir()); err != nil || len(left) > 0 {
		t.Errorf("the run leaves %v behind (%v)", left, err)
	}
}

// writerFunc looks at what is written.
type writerFunc struct{ look func([]byte) }

func (w *writerFunc) Write(p []byte) (int, error) {
	w.look(p)
	return len(p), nil
}
