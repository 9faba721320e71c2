package profiles

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/leastwatt/leastwatt/k8s/api/v1alpha1"
	"github.com/leastwatt/leastwatt/scoring"
)

// empty is Secrets that all are there, without a key.
type empty struct{}

func (empty) Secret(context.Context, string) (*v1.Secret, error) { return new(v1.Secret), nil }

// Of more Secrets than may be in use, the last are told so; a Secret that nobody uses any more makes room.
func TestTooManySecrets(t *testing.T) {
	s := newStore(empty{}, 0, func(string) {}, slog.New(slog.DiscardHandler))
	name := func(i int) string { return fmt.Sprint("s", i) }
	for i := range MaxSecrets + 1 {
		s.acquire(name(i))
	}
	if _, err := s.get(name(MaxSecrets), "h"); err == nil || !strings.Contains(err.Error(), "one too many") {
		t.Errorf("the Secret beyond the limit: %v", err)
	}
	if _, err := s.get(name(MaxSecrets-1), "h"); err == nil || strings.Contains(err.Error(), "one too many") {
		t.Errorf("the last within the limit: %v", err)
	}
	s.refresh(t.Context(), name(MaxSecrets)) // when its time has come
	if _, err := s.get(name(MaxSecrets), "h"); err == nil || !strings.Contains(err.Error(), "one too many") {
		t.Errorf("the Secret beyond the limit, later: %v", err)
	}
	s.release(name(0))
	s.refresh(t.Context(), name(MaxSecrets))
	if _, err := s.get(name(MaxSecrets), "h"); err != nil {
		t.Errorf("the Secret for which there is room now: %v", err)
	}
	s.release(name(1))
	s.release(name(MaxSecrets))
	s.acquire(name(MaxSecrets))
	if _, err := s.get(name(MaxSecrets), "h"); err == nil || strings.Contains(err.Error(), "one too many") {
		t.Errorf("after another went: %v", err)
	}
}

// noted is a Secret with the annotation that limits hosts.
type noted string

func (n noted) Secret(context.Context, string) (*v1.Secret, error) {
	s := new(v1.Secret)
	s.Annotations = map[string]string{HostsAnnotation: string(n)}
	return s, nil
}

// A limit that names no host allows none: it is a mistake, as of a variable that was empty, and not the wish to have no limit.
func TestHostsThatNameNone(t *testing.T) {
	for text, allowed := range map[noted]bool{"": false, " , ": false, "h": true, "[": false, "g": false} {
		s := newStore(text, time.Hour, func(string) {}, slog.New(slog.DiscardHandler))
		s.acquire("bmc")
		s.refresh(t.Context(), "bmc")
		if _, err := s.get("bmc", "h"); allowed != (err == nil) || err != nil && !strings.Contains(err.Error(), HostsAnnotation+` does not allow host "h"`) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestSecretTooLarge(t *testing.T) {
	for n, good := range map[int]bool{MaxSecretBytes: true, MaxSecretBytes + 1: false} {
		err := check(&v1.Secret{Data: map[string][]byte{"password": []byte(strings.Repeat("x", n))}})
		if good != (err == nil) || err != nil && strings.Contains(err.Error(), "xxx") {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
}

// Of more PowerModels than count, those of the least priority, and then the last by name, are told so, and bind nothing.
func TestTooManyModels(t *testing.T) {
	const text = `{"format": "leastwatt.model/1", "name": "m", "inputs": [{"name": "utilization", "unit": "ratio"}], "form": {"kind": "linear", "idle": 60, "peak": 300}}`
	l := newLibrary()
	for i := range MaxModels + 1 {
		m := &v1alpha1.PowerModel{Spec: v1alpha1.PowerModelSpec{JSON: text, Nodes: []string{fmt.Sprint("n", i)}}}
		if m.Name = fmt.Sprintf("m%05d", i); i == MaxModels {
			m.Spec.Priority = 1
		}
		l.set(m)
	}
	l.compile()
	c := l.now.Load()
	for i, want := range map[int]bool{0: true, MaxModels - 2: true, MaxModels - 1: false, MaxModels: true} {
		e, _ := c.find(scoring.Machine{Name: fmt.Sprint("n", i)}, "")
		err := c.err(c.all[fmt.Sprintf("m%05d", i)])
		if want != (e != nil) || want != (err == nil) || !want && !strings.Contains(err.Error(), "one too many") {
			t.Errorf("model %d: %v, %v", i, e, err)
		}
	}
}
