package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/leastwatt/leastwatt/examples/internal/controlplane"
)

// A journal is a log that several goroutines write.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer // guarded by mu
}

func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(b)
}

func (j *journal) count(what string) int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return strings.Count(j.text.String(), what)
}

// A relay passes connections on once it is open; until then it counts them and says that nobody is there, as a proxy does.
type relay struct {
	open    atomic.Bool
	refused atomic.Int64
}

// listen serves an address in front of another one until ctx is done.
func (r *relay) listen(ctx context.Context, to string) (address string, err error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	context.AfterFunc(ctx, func() { _ = l.Close() })
	go func() {
		for {
			a, err := l.Accept()
			if err != nil {
				return
			}
			b, err := new(net.Dialer).DialContext(ctx, "tcp", to)
			if err != nil || !r.open.Load() {
				r.refused.Add(1)
				_, _ = io.WriteString(a, "HTTP/1.1 503 Service Unavailable\r\n\r\n")
				_ = a.Close()
				continue
			}
			context.AfterFunc(ctx, func() { _, _ = a.Close(), b.Close() })
			go func() { _, _ = io.Copy(a, b); _ = a.Close() }()
			go func() { _, _ = io.Copy(b, a); _ = b.Close() }()
		}
	}()
	return l.Addr().String(), nil
}

// A service that finds no API server at its start takes jobs all the same, leaves what runs alone, says once why it waits, and goes on when the API server
// is there: what runs has its room then as if it had been there from the start.
func TestStartsWithoutAPIServer(t *testing.T) {
	bin := controlplane.ForTest(t, "")
	err := controlplane.Run(t.Context(), bin, controlplane.Options{Parent: t.TempDir()}, func(ctx context.Context, cluster *controlplane.Cluster) error {
		api, err := cluster.Client()
		if err != nil {
			return err
		}
		has := v1.ResourceList{v1.ResourceCPU: resource.MustParse("8"), v1.ResourceMemory: resource.MustParse("128Gi"), v1.ResourcePods: resource.MustParse("110")}
		if _, err := api.CoreV1().Nodes().Create(ctx, &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: "k0"},
			Status: v1.NodeStatus{Capacity: has, Allocatable: has, Conditions: []v1.NodeCondition{{Type: v1.NodeReady, Status: v1.ConditionTrue}}}}, metav1.CreateOptions{}); err != nil {
			return err
		}
		first := &options{kubernetes: true, kubeconfig: cluster.Kubeconfig(), namespace: "default", strategy: "leastwatt", idleWatts: 2, peakWatts: 8, slack: 1}
		url, stop := serveUntil(t, first)
		c := client{t: t, url: url}
		post := func(id string, cores int) {
			t.Helper()
			if code, body := c.do("POST", "/jobs", "application/json", fmt.Sprintf(`{"id":%q,"cpu":%d,"duration":3600}`, id, cores)); code != 202 {
				t.Fatal(code, body)
			}
		}
		state := func(id string) string {
			_, body := c.do("GET", "/jobs/"+id, "", "")
			_, after, _ := strings.Cut(body, `"state":"`)
			s, _, _ := strings.Cut(after, `"`)
			return s
		}
		post("long", 6)
		until(t, "the first job runs", func() bool { return state("long") == string(Running) })
		stop()

		var r relay
		address, err := r.listen(ctx, strings.TrimPrefix(cluster.Server(), "https://"))
		if err != nil {
			return err
		}
		text, err := os.ReadFile(cluster.Kubeconfig())
		if err != nil {
			return err
		}
		file := filepath.Join(t.TempDir(), "kubeconfig")
		if err := os.WriteFile(file, bytes.ReplaceAll(text, []byte(cluster.Server()), []byte("https://"+address)), 0o600); err != nil {
			return err
		}
		log := &journal{}
		second := *first
		second.kubeconfig = file
		c.url, _ = serveLogged(t, &second, slog.New(slog.NewTextHandler(log, nil)))
		until(t, "the API server was asked again", func() bool { return r.refused.Load() >= 3 })
		post("large", 6)
		post("small", 1)
		if s := c.status(); s.Queued != 2 || s.Running != 1 || state("long") != string(Running) {
			t.Errorf("without an API server %d are queued and %d run; the first is %s", s.Queued, s.Running, state("long"))
		}
		r.open.Store(true)
		until(t, "the small job runs", func() bool { return state("small") == string(Running) })
		if got := state("large"); got != string(Queued) {
			t.Errorf("the large job is %s although what runs has left it no room", got)
		}
		if _, err := api.BatchV1().Jobs("default").Get(ctx, "lw-large", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
			t.Errorf("its Job: %v, want none", err)
		}
		n := 0
		for _, d := range c.status().Decisions {
			if d.JobID == "long" {
				n++
			}
		}
		if n != 1 || state("long") != string(Running) {
			t.Errorf("%d decisions about the first job, which is %s", n, state("long"))
		}
		if a, b := log.count("does not tell the nodes"), log.count("has told the nodes"); a != 1 || b != 1 {
			t.Errorf("told %d times that it waits and %d times that it goes on, want once", a, b)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
