package controllers

import (
	"context"
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/leastwatt/leastwatt/k8s/api/v1alpha1"
	"github.com/leastwatt/leastwatt/k8s/profiles"
)

// The types of conditions.
const (
	Ready        = "Ready"
	SensorsReady = "SensorsReady"
	ModelReady   = "ModelReady"
)

// A sweeper keeps the status of all resources, while it leads. It writes what has changed in kind at once, and
// times once a period.
type sweeper struct {
	client   client.Client
	provider *profiles.Provider
	problems *problems
	census   *census
	count    func(string)
	every    time.Duration
	period   time.Duration
	models   []ModelSource
	learned  time.Duration             // between two writes of what was learned of a server; negative is never
	again    chan<- event.GenericEvent // has every node looked at again
	log      *slog.Logger

	read   map[string]bool      // which of models could be read last time, by name
	wrote  map[string]time.Time // when a profile's status was written last, by name
	failed map[string]telling   // what the log was told last, by what failed
}

// NeedLeaderElection implements manager.LeaderElectionRunnable.
func (*sweeper) NeedLeaderElection() bool { return true }

// Start implements manager.Runnable.
func (s *sweeper) Start(ctx context.Context) error {
	tick := time.NewTicker(s.every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		for what, f := range map[string]func(context.Context) error{"status of NodeProfiles": s.profiles, "status of PowerModels": s.powerModels,
			"status of NodeProfileTemplates": s.templates, "PowerModels of other systems' models": s.foreign} {
			s.tell(ctx, what, f(ctx))
		}
		s.problems.tell(ctx, s.log)
	}
}

// tell writes into the log what a sweep could not do: an error that stays is told once in a while and not at each sweep.
func (s *sweeper) tell(ctx context.Context, what string, err error) {
	if err == nil || ctx.Err() != nil {
		delete(s.failed, what)
		return
	}
	now, text := time.Now(), err.Error()
	if last, ok := s.failed[what]; ok && (last.text == text && now.Sub(last.at) < s.period) {
		return
	}
	if s.failed == nil {
		s.failed = make(map[string]telling)
	}
	s.failed[what] = telling{text, now}
	s.log.ErrorContext(ctx, "not kept", "what", what, "err", err)
}

// A change is a status to be written.
type change struct {
	object, old client.Object
}

// write writes changes, a few at once; a conflict is left to the next sweep.
func (s *sweeper) write(ctx context.Context, changes []change) error {
	const workers = 8
	var wg sync.WaitGroup
	var mu sync.Mutex
	var first error
	next := make(chan change)
	for range min(workers, len(changes)) {
		wg.Go(func() {
			for c := range next {
				s.count("status")
				err := s.client.Status().Patch(ctx, c.object, client.MergeFrom(c.old))
				if client.IgnoreNotFound(err) != nil {
					mu.Lock()
					if first == nil {
						first = err
					}
					mu.Unlock()
				}
			}
		})
	}
	for _, c := range changes {
		if ctx.Err() != nil {
			break
		}
		next <- c
	}
	close(next)
	wg.Wait()
	return first
}

func (s *sweeper) profiles(ctx context.Context) error {
	var list v1alpha1.NodeProfileList
	if err := s.client.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
		return err
	}
	var changes []change
	keep, messages, now := learnedAtOnce, messagesAtOnce, time.Now()
	wrote := make(map[string]time.Time, len(list.Items)) // those that are gone are forgotten
	found := newCount()
	defer func() {
		s.wrote = wrote
		s.census.publish(found)
	}()
	for i := range list.Items {
		old := &list.Items[i]
		at, ok := s.wrote[old.Name]
		if !ok { // as far as this program knows
			at = now
		}
		wrote[old.Name] = at
		status, ok := s.status(old)
		found.add(old, &status, ok)
		if !ok {
			continue
		}
		kept := keep > 0 && s.remember(old, &status)
		if kept {
			keep--
		}
		worth := kept || s.worth(&old.Status, &status)
		if !worth && messages > 0 && s.news(&old.Status, &status, now.Sub(at)) {
			messages--
			worth = true
		}
		if worth {
			fresh := old.DeepCopy()
			fresh.Status = status
			changes = append(changes, change{fresh, old.DeepCopy()})
			wrote[old.Name] = now
		}
	}
	return s.write(ctx, changes)
}

// What a sweep writes at most: of learned models, and of statuses in which nothing has changed but why something fails.
const (
	learnedAtOnce  = 50
	messagesAtOnce = 50
)

// newMessage is after how long another message is written of a profile of which all else is as it was.
const newMessage = time.Minute

// news tells whether a status says otherwise why something fails, and was last written long enough ago for that. Messages that
// differ in numbers alone, such as an age, are no news before a period is over.
func (s *sweeper) news(old, now *v1alpha1.NodeProfileStatus, since time.Duration) bool {
	a, b := messages(old), messages(now)
	switch {
	case since < newMessage || a == b:
		return false
	case since < s.period:
		return numbers.ReplaceAllString(a, "0") != numbers.ReplaceAllString(b, "0")
	}
	return true
}

// numbers are numbers and durations.
var numbers = regexp.MustCompile(`([0-9][0-9.]*(ns|µs|ms|s|m|h)?)+`)

// messages are all that a status says in words.
func messages(s *v1alpha1.NodeProfileStatus) string {
	var b strings.Builder
	for i := range s.Conditions {
		b.WriteString(s.Conditions[i].Message)
		b.WriteByte('\n')
	}
	for i := range s.Sensors {
		b.WriteString(s.Sensors[i].Message)
		b.WriteByte('\n')
	}
	return b.String()
}

// remember puts what was learned of a server into its profile's status, if it is time.
func (s *sweeper) remember(n *v1alpha1.NodeProfile, now *v1alpha1.NodeProfileStatus) bool {
	l := s.provider.Learned(n.Name)
	if l == nil || s.learned < 0 {
		return false
	}
	if was := n.Status.Learned; was != nil && (was.Readings == l.Readings || l.At.Sub(was.At.Time) < s.learned) {
		return false
	}
	now.Learned = l
	return true
}

// status returns what a profile's status should be, or not ok while that is not known yet.
func (s *sweeper) status(n *v1alpha1.NodeProfile) (v1alpha1.NodeProfileStatus, bool) {
	r := s.provider.Report(n.Name)
	if len(r.Sensors) != len(n.Spec.Sensors) || r.Waiting {
		return v1alpha1.NodeProfileStatus{}, false
	}
	st := *n.Status.DeepCopy()
	st.ObservedGeneration, st.Sensors, st.Model, st.LastRead = n.Generation, r.Sensors, r.Model, n.Status.LastRead
	answering, read := 0, len(r.Sensors)
	var silent []string
	for _, x := range r.Sensors {
		switch {
		case x.Standby:
			read--
		case x.Answering:
			answering++
		default:
			silent = append(silent, x.Name+": "+x.Message)
		}
		if x.LastRead != nil && (st.LastRead == nil || st.LastRead.Before(x.LastRead)) {
			st.LastRead = x.LastRead
		}
	}
	st.Answering = fmt.Sprintf("%d/%d", answering, read)
	set := func(kind string, ok bool, good, bad, message string) {
		c := metav1.Condition{Type: kind, Status: metav1.ConditionFalse, Reason: bad, Message: cut(message), ObservedGeneration: n.Generation}
		if ok {
			c.Status, c.Reason, c.Message = metav1.ConditionTrue, good, ""
		}
		meta.SetStatusCondition(&st.Conditions, c)
	}
	set(SensorsReady, len(silent) == 0, "Answering", "Silent", strings.Join(silent, "; "))
	message := ""
	if r.Err != nil {
		message = r.Err.Error()
	}
	switch {
	case !r.Node:
		set(ModelReady, false, "", "NoNode", "the cluster has no node of that name")
		set(Ready, false, "", "NoNode", "the cluster has no node of that name")
	case !r.Known:
		return st, false
	default:
		set(ModelReady, r.Model != nil, "Bound", "NoModel", message)
		set(Ready, r.Err == nil, "Predicted", "Unknown", message)
	}
	return st, true
}

// worth tells whether a status has changed in more than times and messages, or its times are old.
func (s *sweeper) worth(old, now *v1alpha1.NodeProfileStatus) bool {
	if old.ObservedGeneration != now.ObservedGeneration || old.Answering != now.Answering || len(old.Sensors) != len(now.Sensors) {
		return true
	}
	for i := range now.Sensors {
		a, b := &old.Sensors[i], &now.Sensors[i]
		if a.Name != b.Name || a.Answering != b.Answering || a.Standby != b.Standby || !slices.Equal(a.Kinds, b.Kinds) {
			return true
		}
	}
	if !sameConditions(old.Conditions, now.Conditions) || (old.Model == nil) != (now.Model == nil) {
		return true
	}
	if a, b := old.Model, now.Model; a != nil && (a.Name != b.Name || a.Prior != b.Prior || apart(a.Error, b.Error)) {
		return true
	}
	return now.LastRead != nil && (old.LastRead == nil || now.LastRead.Sub(old.LastRead.Time) > s.period)
}

func sameConditions(a, b []metav1.Condition) bool {
	return slices.EqualFunc(a, b, func(x, y metav1.Condition) bool {
		return x.Type == y.Type && x.Status == y.Status && x.Reason == y.Reason
	})
}

// apart tells whether two errors in percent differ by a point and by a fifth.
func apart(a, b string) bool {
	x, errA := strconv.ParseFloat(strings.TrimSuffix(a, " %"), 64)
	y, errB := strconv.ParseFloat(strings.TrimSuffix(b, " %"), 64)
	if errA != nil || errB != nil {
		return (errA == nil) != (errB == nil)
	}
	return max(x-y, y-x) > max(1, 0.2*max(x, y))
}

func condition(list *[]metav1.Condition, generation int64, err error, good, bad string) {
	c := metav1.Condition{Type: Ready, Status: metav1.ConditionTrue, Reason: good, ObservedGeneration: generation}
	if err != nil {
		c.Status, c.Reason, c.Message = metav1.ConditionFalse, bad, cut(err.Error())
	}
	meta.SetStatusCondition(list, c)
}

// cut cuts a message to what people read.
func cut(text string) string {
	const most = 1000
	text = strings.ToValidUTF8(text, "\uFFFD") // as it comes back from the API server
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "…"
}
