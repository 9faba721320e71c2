package profiles

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"path"
	"strings"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/leastwatt/leastwatt/sensors"
)

// HostsAnnotation, on a Secret, is the hosts that its credentials may be sent to, divided by commas: names, in which
// * stands for any text without a dot, addresses, and ranges as 10.0.0.0/8. One that names none allows none. Without it,
// who may write NodeProfiles decides that.
const HostsAnnotation = "leastwatt.github.io/hosts"

// Limits on Secrets.
const (
	MaxSecrets     = 10_000   // in use at once; further ones are an error of their nodes
	MaxSecretBytes = 64 << 10 // of one value
)

// Secrets reads a Secret by its name, in a namespace of the implementation's choice.
type Secrets interface {
	Secret(ctx context.Context, name string) (*v1.Secret, error)
}

// SecretsOf returns the Secrets of a namespace. It needs the verb get alone.
func SecretsOf(client kubernetes.Interface, namespace string) Secrets {
	return secretsOf{client, namespace}
}

type secretsOf struct {
	client    kubernetes.Interface
	namespace string
}

// Secret implements [Secrets].
func (s secretsOf) Secret(ctx context.Context, name string) (*v1.Secret, error) {
	return s.client.CoreV1().Secrets(s.namespace).Get(ctx, name, metav1.GetOptions{})
}

// store keeps the Secrets that are in use, and reads them by name, again and again.
type store struct {
	from    Secrets
	every   time.Duration
	changed func(name string)
	log     *slog.Logger
	wake    chan struct{}

	mu    sync.Mutex
	known map[string]*secret // guarded by mu
	over  int                // guarded by mu: how many of them are too many
}

// A secret is a Secret in use. Its fields are guarded by the store's mutex.
type secret struct {
	ready   chan struct{} // closed after it was read once
	users   int
	version string
	data    map[string][]byte
	limited bool     // to hosts
	hosts   []string // of no use if not limited
	over    bool     // it is one too many, and not read
	err     error
	read    time.Time // zero before the first
	due     time.Time
}

func newStore(from Secrets, every time.Duration, changed func(string), log *slog.Logger) *store {
	return &store{from: from, every: every, changed: changed, log: log, wake: make(chan struct{}, 1), known: make(map[string]*secret)}
}

var (
	errNotRead = errors.New("is not read yet")
	errNoStore = errors.New("cannot be read: this program was given no namespace for Secrets")
	errTooMany = fmt.Errorf("is one too many: at most %d Secrets are read", MaxSecrets)
)

// acquire notes a use of a Secret, which release ends.
func (s *store) acquire(name string) {
	if name == "" {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	x := s.known[name]
	if x == nil {
		x = &secret{err: errNotRead, ready: make(chan struct{})}
		switch {
		case s.from == nil:
			x.err = errNoStore
		case len(s.known)-s.over >= MaxSecrets:
			x.err, x.over = errTooMany, true
			x.due = time.Now().Add(s.every)
			s.over++
		}
		s.known[name] = x
		s.nudge()
	}
	x.users++
}

func (s *store) release(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if x := s.known[name]; x != nil {
		if x.users--; x.users == 0 {
			delete(s.known, name)
			if x.over {
				s.over--
			}
		}
	}
}

// get returns what a Secret in use holds for a host.
func (s *store) get(name, host string) (map[string][]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	x := s.known[name]
	switch {
	case x == nil:
		return nil, fmt.Errorf("Secret %q: %w", name, errNotRead)
	case x.err != nil:
		return nil, fmt.Errorf("Secret %q: %w", name, x.err)
	case x.limited && !mayReach(x.hosts, host):
		return nil, fmt.Errorf("Secret %q: its annotation %s does not allow host %q", name, HostsAnnotation, host)
	}
	return x.data, nil
}

// suspect has a Secret read again soon: its credentials were refused.
func (s *store) suspect(name string) {
	const pause = 5 * time.Second // between two reads for that reason
	s.mu.Lock()
	defer s.mu.Unlock()
	if x := s.known[name]; x != nil && !x.read.IsZero() {
		if soon := x.read.Add(pause); soon.Before(x.due) {
			x.due = soon
			s.nudge()
		}
	}
}

func (s *store) nudge() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// run reads Secrets one after the other, those that were never read first.
func (s *store) run(ctx context.Context) {
	if s.from == nil {
		return
	}
	const spacing = 20 * time.Millisecond // of refreshes, so at most 50 a second
	for {
		name, due, first := s.next()
		wait := time.Minute
		if name != "" {
			if wait = time.Until(due); !first {
				wait = max(wait, spacing)
			}
		}
		if wait > 0 {
			t := time.NewTimer(wait)
			select {
			case <-ctx.Done():
				t.Stop()
				return
			case <-s.wake:
				t.Stop()
				continue
			case <-t.C:
			}
		}
		if ctx.Err() != nil {
			return
		}
		if name != "" {
			s.refresh(ctx, name)
		}
	}
}

// next returns the Secret to read next.
func (s *store) next() (name string, due time.Time, first bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for n, x := range s.known {
		if name == "" || x.due.Before(due) {
			name, due, first = n, x.due, x.read.IsZero()
			if due.IsZero() {
				break // nothing is more urgent
			}
		}
	}
	return name, due, first
}

func (s *store) refresh(ctx context.Context, name string) {
	const deadline = 10 * time.Second
	if !s.room(name) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	got, err := s.from.Secret(ctx, name)
	if err == nil {
		err = check(got)
	}
	now := time.Now()
	s.mu.Lock()
	x := s.known[name]
	if x == nil {
		s.mu.Unlock()
		return
	}
	first := x.read.IsZero()
	x.read = now
	x.due = now.Add(s.every - time.Duration(rand.Float64()*0.1*float64(s.every)))
	changed := false
	if err == nil {
		version := string(got.UID) + "/" + got.ResourceVersion
		changed = x.err != nil || x.version != version
		x.version, x.data, x.err = version, got.Data, nil
		var limit string
		limit, x.limited = got.Annotations[HostsAnnotation]
		x.hosts = hosts(limit)
	} else if x.data == nil || apierrors.IsNotFound(err) || apierrors.IsForbidden(err) {
		changed = x.err == nil || x.err.Error() != err.Error()
		x.err, x.data = err, nil
	} // else the API server is away: what was read last counts
	s.mu.Unlock()
	if err != nil {
		s.log.WarnContext(ctx, "Secret cannot be read", "secret", name, "err", err)
	}
	if changed {
		s.changed(name)
	}
	if first {
		close(x.ready)
	}
}

// room tells whether a Secret may be read: one that was too many waits until others are used no more.
func (s *store) room(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	x := s.known[name]
	switch {
	case x == nil || !x.over:
		return true
	case len(s.known)-s.over >= MaxSecrets:
		x.due = time.Now().Add(s.every)
		return false
	}
	x.over = false
	s.over--
	return true
}

// wait returns when a Secret in use was read once, or ctx ends.
func (s *store) wait(ctx context.Context, name string) {
	s.mu.Lock()
	x := s.known[name]
	s.mu.Unlock()
	if x == nil || s.from == nil {
		return
	}
	select {
	case <-x.ready:
	case <-ctx.Done():
	}
}

func check(s *v1.Secret) error {
	for k, v := range s.Data {
		if len(v) > MaxSecretBytes {
			return fmt.Errorf("key %q holds more than %d bytes", k, MaxSecretBytes)
		}
	}
	return nil
}

func hosts(annotation string) (all []string) {
	for h := range strings.SplitSeq(annotation, ",") {
		if h = strings.TrimSpace(h); h != "" {
			all = append(all, strings.ToLower(h))
		}
	}
	return all
}

// mayReach tells whether a host is one of those that an annotation allows.
func mayReach(allowed []string, host string) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	address, isAddress := netip.Addr{}, false
	if a, err := netip.ParseAddr(host); err == nil {
		address, isAddress = a.Unmap(), true
	}
	for _, pattern := range allowed {
		if isAddress {
			if r, err := netip.ParsePrefix(pattern); err == nil && r.Contains(address) {
				return true
			}
			if a, err := netip.ParseAddr(pattern); err == nil && a.Unmap() == address {
				return true
			}
			continue
		}
		// With / for dots, * stops at one.
		if ok, err := path.Match(strings.ReplaceAll(pattern, ".", "/"), strings.ReplaceAll(host, ".", "/")); ok && err == nil {
			return true
		}
	}
	return false
}

// refused tells whether an error is that credentials were not taken.
func refused(err error) bool { return errors.Is(err, sensors.ErrUnauthorized) }

// version tells apart what a Secret held.
func (s *store) version(name string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if x := s.known[name]; x != nil {
		return x.version
	}
	return ""
}
