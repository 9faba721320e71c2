// Calibrate fits power models to a server's samples, says which one to use and why, and writes it to a file.
//
//	go run ./examples/calibrate -demo "PowerEdge R6525" -plot fit.png        # made-up samples of a published server
//	go run ./examples/calibrate -csv FILE -inputs utilization,inlet -target watts -out model.json -plot fit.png -json
//	go run ./examples/calibrate -prometheus URL -query utilization=EXPR -query watts=EXPR -from 24h
//	go run ./examples/calibrate -measure -csv FILE                           # walk this server through its loads
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"time"

	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/power/calibrate"
	"github.com/leastwatt/leastwatt/power/model"
)

type options struct {
	csv, demo, prometheus string
	queries               queries
	from                  string
	step                  time.Duration
	inputs, target        string
	time                  string
	test                  float64
	out, plot, name       string
	json                  bool
	measure               measuring
}

func main() {
	var o options
	flag.StringVar(&o.csv, "csv", "", "table of samples with a header; with -measure, where they are written and resumed from")
	flag.StringVar(&o.demo, "demo", "", "make samples of a published server of this name (any of power.Servers)")
	flag.StringVar(&o.prometheus, "prometheus", "", "URL of a Prometheus server; the token of $PROMETHEUS_TOKEN is sent if it is set")
	flag.Var(&o.queries, "query", "COLUMN=EXPRESSION, once for every input and for the target; each must give one series")
	flag.StringVar(&o.from, "from", "24h", "with -prometheus: since when, as a duration or an RFC 3339 time")
	flag.DurationVar(&o.step, "step", 15*time.Second, "with -prometheus: the time between samples")
	flag.StringVar(&o.inputs, "inputs", "utilization", "columns that the model may look at, the main one first")
	flag.StringVar(&o.target, "target", "watts", "column of watts")
	flag.StringVar(&o.time, "time", "", "column of times (seconds since 1970, or RFC 3339); default timestamp or time, where there is one")
	flag.Float64Var(&o.test, "test", 0, "share of the samples, the last in time, to keep for a test")
	flag.StringVar(&o.out, "out", "", "file for the chosen model")
	flag.StringVar(&o.plot, "plot", "", "picture of samples, fit and 90 % interval: .png, .svg or .pdf")
	flag.StringVar(&o.name, "name", "server", "name of the model in its file")
	flag.BoolVar(&o.json, "json", false, "print one JSON object")
	o.measure.flags()
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, o, os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "calibrate:", strings.TrimPrefix(err.Error(), "calibrate: ")) // the package's name too
		os.Exit(1)
	}
}

func run(ctx context.Context, o options, out, progress io.Writer) error {
	if !(o.test >= 0 && o.test < 1) {
		return fmt.Errorf("-test %v: want 0 or more and less than 1", o.test)
	}
	inputs, err := parseInputs(o.inputs)
	if err != nil {
		return err
	}
	if o.measure.on {
		if o.csv == "" {
			return errors.New("-measure needs -csv, the file for the samples")
		}
		if err := o.measure.run(ctx, o.csv, progress); err != nil {
			return err
		}
		o.time = ""
	}
	src, err := open(ctx, o, inputs)
	if err != nil {
		return err
	}
	total, err := count(src)
	if err != nil {
		return err
	}
	cut := total - int(o.test*float64(total)+0.5)
	report, err := calibrate.Fit(slice(src, 0, cut), inputs, calibrate.Options{})
	if err != nil {
		return err
	}
	m := report.Model(o.name, src.name, nil)
	if o.demo != "" {
		m.Prior = true
	}
	predictor, err := m.Predictor()
	if err != nil {
		return err
	}
	res := result{Samples: total, Chosen: report.Best().Form}
	if cut < total {
		if res.Test, err = judge(ctx, predictor, src, cut, total); err != nil {
			return err
		}
	}
	if o.out != "" {
		if err := model.WriteFile(o.out, m); err != nil {
			return err
		}
	}
	if o.plot != "" {
		if err := picture(ctx, o.plot, predictor, inputs, src); err != nil {
			return err
		}
	}
	if o.json {
		return res.writeJSON(out, report)
	}
	return res.write(out, report, src.name, o)
}

func parseInputs(list string) ([]power.Input, error) {
	var in []power.Input
	for name := range strings.SplitSeq(list, ",") {
		if name = strings.TrimSpace(name); name == "" {
			return nil, fmt.Errorf("-inputs %q: a name is empty", list)
		}
		in = append(in, power.Input(name))
	}
	return in, nil
}
