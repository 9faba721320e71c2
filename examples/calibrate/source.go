package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"math/rand/v2"
	"os"
	"time"

	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/power/calibrate"
)

// A source gives the same samples each time it is asked, so that a table of any length is never held whole.
type source struct {
	name    string
	samples func() iter.Seq2[calibrate.Sample, error]
}

// open tells where samples come from.
func open(ctx context.Context, o options, inputs []power.Input) (source, error) {
	given := 0
	for _, s := range []string{o.csv, o.demo, o.prometheus} {
		if s != "" {
			given++
		}
	}
	if given != 1 {
		return source{}, errors.New("want one of -csv, -prometheus and -demo")
	}
	switch {
	case o.csv != "":
		return fromCSV(o.csv, calibrate.Columns{Inputs: inputs, Target: o.target, Time: o.time}), nil
	case o.prometheus != "":
		return fromPrometheus(ctx, o, inputs)
	}
	return demo(o.demo)
}

func fromCSV(name string, c calibrate.Columns) source {
	return source{name: name, samples: func() iter.Seq2[calibrate.Sample, error] {
		return func(yield func(calibrate.Sample, error) bool) {
			f, err := os.Open(name)
			if err != nil {
				yield(calibrate.Sample{}, err)
				return
			}
			defer f.Close()
			for s, err := range calibrate.ReadCSV(f, c) {
				if err != nil {
					err = fmt.Errorf("%s: %w", name, err)
				}
				if !yield(s, err) || err != nil {
					return
				}
			}
		}
	}}
}

// demo makes a week of samples of a published server, a reading every five minutes, at a load that follows the day,
// with 2 % noise and air between 20 and 28 °C. They are made up, and the model's file says that it is a prior.
func demo(name string) (source, error) {
	server, err := power.FindServer(name)
	if err != nil {
		return source{}, err
	}
	truth, err := power.NewInlet(server.Curve(), power.InletResponse{Reference: 24, PerDegree: 0.00425, Low: 15, High: 35})
	if err != nil {
		return source{}, err
	}
	return source{name: "made-up samples of " + server.Name() + ", " + server.Source(), samples: func() iter.Seq2[calibrate.Sample, error] {
		return func(yield func(calibrate.Sample, error) bool) {
			rng := rand.New(rand.NewPCG(1, 1))
			start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
			for i := range 7 * 288 {
				day := 2 * math.Pi * float64(i) / 288
				u := min(max(0.45-0.35*math.Cos(day)+0.12*rng.NormFloat64(), 0), 1)
				t := power.Celsius(24 - 4*math.Cos(day+1) + 0.3*rng.NormFloat64())
				s := calibrate.Sample{At: start.Add(time.Duration(i) * 5 * time.Minute), State: power.State{Utilization: u, InletTemp: &t}}
				w, err := truth.Predict(context.Background(), s.State)
				s.Watts = w * power.Watts(1+0.02*rng.NormFloat64())
				if !yield(s, err) || err != nil {
					return
				}
			}
		}
	}}, nil
}

// count returns how many samples there are.
func count(s source) (int, error) {
	n := 0
	for _, err := range s.samples() {
		if err != nil {
			return 0, err
		}
		n++
	}
	if n == 0 {
		return 0, fmt.Errorf("%s: %w", s.name, io.ErrUnexpectedEOF)
	}
	return n, nil
}

// slice returns the samples from a to b.
func slice(s source, a, b int) iter.Seq2[calibrate.Sample, error] {
	return func(yield func(calibrate.Sample, error) bool) {
		i := 0
		for v, err := range s.samples() {
			if i >= b {
				return
			}
			if i >= a || err != nil {
				if !yield(v, err) || err != nil {
					return
				}
			}
			i++
		}
	}
}
