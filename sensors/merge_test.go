package sensors_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/leastwatt/leastwatt/sensors"
)

var at = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// fixed is a source that gives and fails the same for every node.
func fixed(name string, err error, values map[sensors.Kind]float64) sensors.SensorSource {
	return named{name, func(context.Context, string) ([]sensors.Reading, error) {
		var r []sensors.Reading
		for k, v := range values {
			r = append(r, sensors.Reading{Kind: k, Value: v, At: at, Source: name})
		}
		return r, err
	}}
}

type named struct {
	name string
	sensors.SourceFunc
}

func (n named) String() string { return n.name }

func from(t *testing.T, s sensors.SensorSource) (map[sensors.Kind]string, error) {
	t.Helper()
	readings, err := s.Read(t.Context(), "n")
	got := map[sensors.Kind]string{}
	for _, r := range readings {
		if got[r.Kind] != "" {
			t.Errorf("%s occurs twice", r.Kind)
		}
		got[r.Kind] = r.Source
	}
	return got, err
}

type kinds = map[sensors.Kind]float64

func TestFirstAndMerge(t *testing.T) {
	dead := &sensors.Error{Source: "dead", Node: "n", Err: sensors.ErrUnreachable}
	noInlet := &sensors.Error{Source: "a", Node: "n", Kind: sensors.InletTemp, Err: sensors.ErrNoReading}
	stranger := fixed("stranger", &sensors.Error{Source: "stranger", Node: "n", Err: sensors.ErrUnknownNode}, nil)
	a := fixed("a", noInlet, kinds{sensors.Power: 1, sensors.FanSpeed: 1})
	b := fixed("b", nil, kinds{sensors.Power: 2, sensors.InletTemp: 2})
	gone := fixed("dead", dead, nil)
	for name, c := range map[string]struct {
		source sensors.SensorSource
		want   map[sensors.Kind]string
		errs   []error // all of these; none: no error
	}{
		"first: the first that reads":                  {sensors.First(a, b), map[sensors.Kind]string{sensors.Power: "a", sensors.FanSpeed: "a"}, []error{noInlet}},
		"first: falls back and says why":               {sensors.First(gone, b), map[sensors.Kind]string{sensors.Power: "b", sensors.InletTemp: "b"}, []error{dead}},
		"first: not knowing is no failure":             {sensors.First(stranger, b), map[sensors.Kind]string{sensors.Power: "b", sensors.InletTemp: "b"}, nil},
		"first: nobody knows":                          {sensors.First(stranger, stranger), nil, []error{sensors.ErrUnknownNode}},
		"first: all dead":                              {sensors.First(gone, stranger), nil, []error{dead}},
		"first: of none":                               {sensors.First(), nil, []error{sensors.ErrNoReading}},
		"merge: all, the first wins":                   {sensors.Merge(a, b), map[sensors.Kind]string{sensors.Power: "a", sensors.FanSpeed: "a", sensors.InletTemp: "b"}, nil},
		"merge: the error of one stays":                {sensors.Merge(a, gone), map[sensors.Kind]string{sensors.Power: "a", sensors.FanSpeed: "a"}, []error{dead, noInlet}},
		"merge: not knowing is no failure":             {sensors.Merge(stranger, b), map[sensors.Kind]string{sensors.Power: "b", sensors.InletTemp: "b"}, nil},
		"merge: nobody knows":                          {sensors.Merge(stranger, stranger), nil, []error{sensors.ErrUnknownNode}},
		"merge: of none":                               {sensors.Merge(), nil, []error{sensors.ErrNoReading}},
		"merge: precedence of one kind":                {sensors.MergeBy(map[sensors.Kind][]int{sensors.Power: {1}}, a, b), map[sensors.Kind]string{sensors.Power: "b", sensors.FanSpeed: "a", sensors.InletTemp: "b"}, nil},
		"merge: precedence over one that is not there": {sensors.MergeBy(map[sensors.Kind][]int{sensors.Power: {1}}, a, gone), map[sensors.Kind]string{sensors.Power: "a", sensors.FanSpeed: "a"}, []error{dead}},
		"only: what is listed":                         {sensors.Only(b, sensors.InletTemp), map[sensors.Kind]string{sensors.InletTemp: "b"}, nil},
		"only: errors of other kinds do not matter":    {sensors.Only(a, sensors.Power), map[sensors.Kind]string{sensors.Power: "a"}, nil},
		"only: errors of the kind do":                  {sensors.Only(a, sensors.InletTemp), nil, []error{noInlet}},
		"only: nothing is left":                        {sensors.Only(b, sensors.GPUPower), nil, []error{sensors.ErrNoReading}},
	} {
		got, err := from(t, c.source)
		if len(c.want) > 0 || len(got) > 0 {
			if d := cmp.Diff(c.want, got); d != "" {
				t.Errorf("%s (-want +got):\n%s", name, d)
			}
		}
		if (err == nil) != (len(c.errs) == 0) {
			t.Errorf("%s: error %v, want %v", name, err, c.errs)
		}
		for _, want := range c.errs {
			if !errors.Is(err, want) {
				t.Errorf("%s: error %v, want it to wrap %v", name, err, want)
			}
		}
	}
}

func TestErrorsTakesJoinsApartAndNothingElse(t *testing.T) {
	a, b := errors.New("a"), &sensors.Error{Err: sensors.ErrStale}
	wrapped := &sensors.Error{Err: errors.Join(a, b)}
	got := sensors.Errors(errors.Join(a, errors.Join(b, wrapped)))
	if len(got) != 3 || sensors.Errors(nil) != nil {
		t.Errorf("%d errors %v, want 3", len(got), got)
	}
}

func TestNamesTellTheSource(t *testing.T) {
	s := sensors.Merge(sensors.First(fixed("bmc", nil, nil), fixed("prom", nil, nil)), sensors.Only(fixed("kepler", nil, nil)))
	if got := sensors.Name(s); got != "merge(first(bmc,prom),kepler)" {
		t.Errorf("name %q", got)
	}
	if got := sensors.Name(sensors.SourceFunc(nil)); !strings.HasPrefix(got, "sensors") {
		t.Errorf("name %q of a source without one, want its package", got)
	}
}
