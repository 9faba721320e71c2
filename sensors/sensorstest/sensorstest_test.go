package sensorstest_test

import (
	"context"
	"errors"
	"math"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leastwatt/leastwatt/sensors"
	"github.com/leastwatt/leastwatt/sensors/sensorstest"
)

const secret = "hunter2"

// flawed is a source with at most one flaw.
type flawed struct {
	flaw string
	busy *atomic.Int64 // how many read now
}

func with(flaw string) flawed { return flawed{flaw, new(atomic.Int64)} }

var kept = []sensors.Reading{reading(sensors.Power, 1)}

func reading(k sensors.Kind, v float64) sensors.Reading {
	return sensors.Reading{Kind: k, Value: v, At: time.Now(), Source: "flawed"}
}

func (f flawed) Read(ctx context.Context, node string) ([]sensors.Reading, error) {
	fail := func(err error) ([]sensors.Reading, error) {
		return nil, &sensors.Error{Source: "flawed", Node: node, Err: err}
	}
	switch node {
	case "dead":
		switch f.flaw {
		case "leaks":
			return fail(errors.Join(sensors.ErrUnreachable, errors.New("with password "+secret)))
		case "wrong cause":
			return fail(sensors.ErrStale)
		case "bare error":
			return nil, sensors.ErrUnreachable
		case "no failure":
			return nil, nil
		case "other node":
			return nil, &sensors.Error{Source: "flawed", Node: "x", Err: sensors.ErrUnreachable}
		}
		return fail(sensors.ErrUnreachable)
	case "hangs":
		if f.flaw == "reads on" {
			return kept, nil
		}
		<-ctx.Done()
		return fail(errors.Join(sensors.ErrUnreachable, ctx.Err()))
	case "good":
	default:
		if f.flaw == "knows all" {
			break
		}
		return fail(sensors.ErrUnknownNode)
	}
	r := []sensors.Reading{reading(sensors.Power, 200), reading(sensors.InletTemp, 20)}
	switch f.flaw {
	case "nan":
		r[0].Value = math.NaN()
	case "no time":
		r[0].At = time.Time{}
	case "no source":
		r[0].Source = ""
	case "twice":
		r = append(r, r[0])
	case "lacks":
		r = r[:1]
	case "keeps":
		return kept, nil
	case "nothing":
		return nil, nil
	case "no kind":
		r[0].Kind = ""
	case "one at a time":
		defer f.busy.Add(-1)
		alone := f.busy.Add(1) == 1
		runtime.Gosched()
		if !alone {
			_, err := fail(sensors.ErrUnreachable)
			return r, err
		}
	case "grumbles":
		_, err := fail(sensors.ErrUnreachable)
		return r, err
	}
	return r, nil
}

// flawedBatch is a batch source with at most one flaw.
type flawedBatch struct{ flawed }

func (f flawedBatch) ReadAll(ctx context.Context, nodes []string) (map[string][]sensors.Reading, map[string]error) {
	readings, errs := map[string][]sensors.Reading{}, map[string]error{}
	for _, n := range nodes {
		r, err := f.Read(ctx, n)
		if err != nil {
			errs[n] = err
		} else {
			readings[n] = r
		}
	}
	switch f.flaw {
	case "spoils":
		if len(errs) > 0 {
			return nil, map[string]error{nodes[0]: errs[nodes[len(nodes)-1]]}
		}
	case "sorts":
		if len(nodes) > 0 {
			nodes[0] = "a"
		}
	case "strangers":
		if len(nodes) > 0 {
			readings["stranger"] = kept
		}
	case "invents":
		if len(nodes) == 0 {
			readings["stranger"] = kept
		}
	case "shortens":
		if r := readings["good"]; r != nil {
			readings["good"] = r[:1]
		}
	case "swallows":
		delete(errs, "dead")
	case "takes for dead":
		if e := errs["sensorstest-unknown"]; e != nil {
			errs["sensorstest-unknown"] = &sensors.Error{Source: "flawed", Node: "sensorstest-unknown", Err: sensors.ErrUnreachable}
		}
	}
	return readings, errs
}

func want() sensorstest.Want {
	return sensorstest.Want{Node: "good", Kinds: []sensors.Kind{sensors.Power}, Hangs: "hangs",
		Fails: map[string]error{"dead": sensors.ErrUnreachable}, Secrets: []string{secret}}
}

var checks = map[sensors.Kind]sensors.Check{sensors.Power: {MaxPerSecond: 1000}}

func batchBreaker() sensors.SensorSource {
	b, _ := sensors.NewBreaker(flawedBatch{}, sensors.BreakerOptions{}).Batch()
	return b
}

func TestASoundSourcePasses(t *testing.T) {
	for name, s := range map[string]sensors.SensorSource{
		"source": flawed{}, "batch": flawedBatch{},
		"first": sensors.First(flawed{}, flawed{}), "first of batches": sensors.First(flawedBatch{}, flawedBatch{}),
		"merge": sensors.Merge(flawed{}, flawedBatch{}),
		"only":  sensors.Only(flawed{}, sensors.Power), "only of a batch": sensors.Only(flawedBatch{}, sensors.Power),
		"limit": sensors.Limit(flawed{}, time.Millisecond), "limit of a batch": sensors.Limit(flawedBatch{}, time.Millisecond),
		"breaker": sensors.NewBreaker(flawed{}, sensors.BreakerOptions{}), "breaker of a batch": batchBreaker(),
		"plausible": sensors.Plausible(flawed{}, checks), "plausible of a batch": sensors.Plausible(flawedBatch{}, checks),
		"derive": sensors.Derive(flawed{}, sensors.DeriveOptions{}), "derive of a batch": sensors.Derive(flawedBatch{}, sensors.DeriveOptions{}),
	} {
		if err := sensorstest.TestSource(s, want()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestEveryFlawIsFound(t *testing.T) {
	for flaw, says := range map[string]string{
		"nan": "finite", "no time": "no time", "no source": "no source", "twice": "twice", "nothing": "no readings", "no kind": "has no kind",
		"lacks": "want inlet_temp_celsius", "keeps": "after the caller changed", "leaks": "credential", "wrong cause": "want it to wrap",
		"bare error": "want a *sensors.Error", "no failure": "returned no error", "other node": "this node",
		"reads on": "a device that hangs", "knows all": "does not know", "one at a time": "one of eight concurrent reads",
		"grumbles": "want no error",
	} {
		w := want()
		if flaw == "lacks" {
			w.Kinds = append(w.Kinds, sensors.InletTemp)
		}
		found(t, flaw, sensorstest.TestSource(with(flaw), w), says)
	}
	for flaw, says := range map[string]string{"spoils": "other nodes' failures", "sorts": "changed the list", "strangers": "nobody asked",
		"invents": "ReadAll of no nodes", "shortens": "and Read", "swallows": `ReadAll("dead") returned no error`, "takes for dead": `ReadAll("sensorstest-unknown")`} {
		found(t, flaw, sensorstest.TestSource(flawedBatch{with(flaw)}, want()), says)
	}
}

// follows are what else the suite says of a flaw, because it follows.
var follows = map[string][]string{
	"nothing": {"want power_watts"}, "no kind": {"want power_watts"}, "keeps": {"concurrent Read"}, "knows all": {"returned no error"}, "reads on": {"returned no error"},
	"spoils": {"ReadAll"}, "sorts": {"ReadAll"},
}

// found checks that the suite finds a flaw, and no other.
func found(t *testing.T, flaw string, err error, says string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), says) {
		t.Errorf("a source with the flaw %q: the suite says %v, want %q", flaw, err, says)
		return
	}
	for _, e := range err.(interface{ Unwrap() []error }).Unwrap() {
		if !slices.ContainsFunc(append(follows[flaw], says), func(s string) bool { return strings.Contains(e.Error(), s) }) {
			t.Errorf("a source with the flaw %q: the suite also says %v", flaw, e)
		}
	}
}

// A read that does not end with its context is found out, too.
func TestHangingIsFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		end := make(chan struct{})
		err := sensorstest.TestSource(sensors.SourceFunc(func(ctx context.Context, node string) ([]sensors.Reading, error) {
			if node == "hangs" {
				<-end
			}
			return flawed{}.Read(ctx, node)
		}), want())
		found(t, "hangs on", err, "did not return")
		close(end)
	})
}
