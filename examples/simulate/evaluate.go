package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/leastwatt/leastwatt/scoring/batch"
	"github.com/leastwatt/leastwatt/scoring/simulate"
)

// evaluation holds the flags of -evaluate.
type evaluation struct {
	dir     string
	parts   string
	servers int
	hours   float64
	warmup  float64
	seeds   int
	longest time.Duration
	weights *batch.Weights
}

func (e *evaluation) flags(f *flag.FlagSet) {
	f.StringVar(&e.dir, "evaluate", "", "measure all strategies against the bound on the published servers and traces in this folder (../shared/data), or on \"embedded\" ones")
	f.StringVar(&e.parts, "parts", "reference,goal,heldout,identical", "parts of -evaluate")
	f.IntVar(&e.servers, "servers", 150, "servers of -evaluate")
	f.Float64Var(&e.hours, "evaluate-hours", 48, "hours that -evaluate measures")
	f.Float64Var(&e.warmup, "evaluate-warmup", 24, "hours before that it does not")
}

// Moves of the goals: none, and two percent of the running jobs in an hour.
var evalMoves = []float64{0, 0.02}

// reference is the table of over-bound ratios in the project's facts on placement, measured there by another program: 150 servers of
// SPECpower curves, pods of openb and of Azure jobs, models and lifetimes known, nothing moved. on openb 0.3, 0.5, 0.7, on azure,
// off openb, off azure.
var reference = []struct {
	name  string
	ratio [12]float64
}{
	{"leastallocated", [12]float64{1.415, 1.241, 1.131, 1.429, 1.243, 1.129, 2.79, 1.68, 1.29, 2.84, 1.67, 1.28}},
	{"mostallocated", [12]float64{1.644, 1.490, 1.323, 1.653, 1.488, 1.322, 2.65, 1.84, 1.46, 2.63, 1.83, 1.45}},
	{"peaks", [12]float64{1.053, 1.065, 1.034, 1.044, 1.066, 1.029, 1.262, 1.233, 1.107, 1.256, 1.250, 1.113}},
	{"wao", [12]float64{1.027, 1.033, 1.029, 1.023, 1.028, 1.026, 1.174, 1.125, 1.095, 1.166, 1.131, 1.097}},
	{"marginal", [12]float64{1.027, 1.032, 1.028, 1.021, 1.028, 1.024, 1.165, 1.122, 1.095, 1.155, 1.128, 1.098}},
	{"marginal+idle", [12]float64{1.060, 1.040, 1.031, 1.103, 1.040, 1.030, 1.207, 1.105, 1.081, 1.332, 1.125, 1.085}},
	{"envelope", [12]float64{1.023, 1.029, 1.027, 1.015, 1.022, 1.018, 1.105, 1.072, 1.065, 1.072, 1.053, 1.042}},
	{"leastwatt", [12]float64{1.020, 1.028, 1.027, 1.014, 1.019, 1.018, 1.076, 1.048, 1.042, 1.053, 1.034, 1.026}},
}

var evalLoads = []float64{0.3, 0.5, 0.7}

// evalDoc is what -evaluate -json prints.
type evalDoc struct {
	Cells []evalCell `json:"cells"`
	Means []evalMean `json:"means"`
	// Above lists the cells in which another strategy draws less than leastwatt without waiting longer.
	Above []evalAbove `json:"above"`
}

type evalCell struct {
	Part       string  `json:"part"`
	Trace      string  `json:"trace"`
	Load       float64 `json:"load"`
	Mode       string  `json:"mode"`
	Moves      float64 `json:"moves"`
	Strategy   string  `json:"strategy"`
	OverBound  float64 `json:"overBound"`
	Half95     float64 `json:"half95"`
	WaitSecond float64 `json:"meanWaitSeconds"`
	Reference  float64 `json:"reference,omitzero"`
}

type evalMean struct {
	Part      string  `json:"part"`
	Mode      string  `json:"mode"`
	Moves     float64 `json:"moves"`
	Strategy  string  `json:"strategy"`
	OverBound float64 `json:"overBound"`
}

type evalAbove struct {
	Part  string  `json:"part"`
	Trace string  `json:"trace"`
	Load  float64 `json:"load"`
	Mode  string  `json:"mode"`
	By    string  `json:"by"`
	Gap   float64 `json:"gap"` // of the other's ratio
	Sure  bool    `json:"sure"`
}

// evaluate runs the parts and prints them.
func (e *evaluation) evaluate(ctx context.Context, o *options, out, progress io.Writer) error {
	var c *corpus
	if e.dir == "embedded" {
		c = embedded()
	} else {
		var err error
		if c, err = published(e.dir); err != nil {
			return err
		}
	}
	names := slices.DeleteFunc(batch.Names(), func(n string) bool { return n == "leastwatt" })
	if o.strategies != "all" {
		names = slices.DeleteFunc(strings.Split(o.strategies, ","), func(n string) bool { return n == "leastwatt" })
	}
	names = append(names, "leastwatt")
	w := &evalWriter{out: out, asJSON: o.asJSON}
	known := strings.Split("reference,goal,heldout,identical,tune", ",")
	for p := range strings.SplitSeq(e.parts, ",") {
		if !slices.Contains(known, p) {
			return fmt.Errorf("-parts: %q is not one of %s", p, strings.Join(known, ", "))
		}
		if err := e.part(ctx, o, p, c, names, w, progress); err != nil {
			return err
		}
	}
	return w.close()
}

// cells makes the scenarios of one part for one way to run servers, without moves.
func (e *evaluation) cells(part string, c *corpus, off bool) []*scenario {
	base := scenario{longest: e.longest, machines: c.machines, servers: e.servers, off: off, weights: e.weights,
		warmup: time.Duration(e.warmup * float64(time.Hour)), hours: time.Duration(e.hours * float64(time.Hour))}
	var out []*scenario
	add := func(trace string, jobs []simulate.Job) {
		for _, l := range evalLoads {
			s := base
			s.trace, s.jobs, s.load = trace, jobs, l
			out = append(out, &s)
		}
	}
	inner, outer := c.split()
	switch part {
	case "reference":
		base.told = true
		for _, n := range inner[:2] {
			add(n, c.jobs[n])
		}
	case "goal":
		for _, n := range inner {
			add(n, c.jobs[n])
		}
	case "tune":
		base.machines = every(c.machines, false)
		for _, n := range inner {
			add(n+"/1st", halfOf(c.jobs[n], false))
		}
	case "heldout":
		base.machines = every(c.machines, true)
		for _, n := range inner {
			add(n+"/2nd", halfOf(c.jobs[n], true))
		}
		for _, n := range outer {
			add(n, c.jobs[n])
		}
	case "identical":
		base.identical, base.servers = true, e.servers*2/3
		for _, n := range inner {
			add(n, c.jobs[n])
		}
	}
	return out
}

// part runs one part and prints its tables.
func (e *evaluation) part(ctx context.Context, o *options, part string, c *corpus, names []string, w *evalWriter, progress io.Writer) error {
	seeds := make([]uint64, max(e.seeds, 1))
	for i := range seeds {
		seeds[i] = o.seed + uint64(i)
		if part == "heldout" {
			seeds[i] += 1000
		}
	}
	for _, off := range []bool{false, true} {
		cells := e.cells(part, c, off)
		use := names
		if part == "reference" {
			use = nil
			for _, r := range reference {
				use = append(use, r.name)
			}
		}
		means, err := matrix(ctx, cells, use, seeds, progress)
		if err != nil {
			return err
		}
		w.table(part, cells, use, means)
		if part == "reference" {
			continue
		}
		w.above(part, cells, use, means)
		for _, m := range evalMoves[1:] {
			moved := make([]*scenario, len(cells))
			for i, c := range cells {
				s := *c
				s.moves = m
				moved[i] = &s
			}
			means, err := matrix(ctx, moved, []string{"leastwatt"}, seeds, progress)
			if err != nil {
				return err
			}
			w.table(part, moved, []string{"leastwatt"}, means)
		}
	}
	return nil
}

// evalWriter prints tables as they come, or one document in the end.
type evalWriter struct {
	out    io.Writer
	asJSON bool
	doc    evalDoc
	err    error
}

func (w *evalWriter) printf(format string, args ...any) {
	if !w.asJSON && w.err == nil {
		_, w.err = fmt.Fprintf(w.out, format, args...)
	}
}

// table prints ratios by strategy and cell.
func (w *evalWriter) table(part string, cells []*scenario, names []string, means [][]cellMean) {
	first := cells[0]
	know := "models and lifetimes learned"
	if first.told {
		know = "models and lifetimes told"
	}
	w.printf("\n%s, servers %s, %.0f %% moves an hour, %s: energy over bound (± is half the 95 %% interval of the mean)\n", part, first.mode(), 100*first.moves, know)
	t := tabwriter.NewWriter(&tableOut{w}, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(t, "strategy\t")
	for _, c := range cells {
		fmt.Fprintf(t, "%s %.1f\t", c.trace, c.load)
	}
	fmt.Fprintln(t, "mean\tlongest wait\t")
	for k, n := range names {
		fmt.Fprintf(t, "%s\t", n)
		var sum float64
		var wait time.Duration
		for i, c := range cells {
			m := means[i][k]
			sum += m.over
			wait = max(wait, m.wait)
			cell := evalCell{Part: part, Trace: c.trace, Load: c.load, Mode: c.mode(), Moves: c.moves, Strategy: n, OverBound: m.over, Half95: m.half, WaitSecond: m.wait.Seconds()}
			if part == "reference" && c.trace == [...]string{"openb", "azure"}[i/3] {
				at := i
				if c.off {
					at += 6
				}
				cell.Reference = reference[k].ratio[at]
				fmt.Fprintf(t, "%.3f (%.3f)\t", m.over, cell.Reference)
			} else {
				fmt.Fprintf(t, "%.4f ±%.4f\t", m.over, m.half)
			}
			w.doc.Cells = append(w.doc.Cells, cell)
		}
		mean := sum / float64(len(cells))
		fmt.Fprintf(t, "%.4f\t%s\t\n", mean, brief(wait))
		w.doc.Means = append(w.doc.Means, evalMean{part, first.mode(), first.moves, n, mean})
	}
	if err := t.Flush(); w.err == nil {
		w.err = err
	}
}

// tableOut drops a table that is not wanted as text.
type tableOut struct{ w *evalWriter }

func (t *tableOut) Write(p []byte) (int, error) {
	t.w.printf("%s", p)
	return len(p), t.w.err
}

// equalWait is by how much two mean waits may differ and still count as equal.
const equalWait = time.Second

// above prints the cells in which leastwatt, the last of names, draws more than a strategy that waits no longer.
func (w *evalWriter) above(part string, cells []*scenario, names []string, means [][]cellMean) {
	found := 0
	own := len(names) - 1
	for i, c := range cells {
		l := means[i][own]
		for k, n := range names[:own] {
			m := means[i][k]
			if m.over >= l.over || m.wait > l.wait+equalWait {
				continue
			}
			gap := l.over/m.over - 1
			found++
			sure := gap*m.over > l.half+m.half
			w.doc.Above = append(w.doc.Above, evalAbove{part, c.trace, c.load, c.mode(), n, gap, sure})
			w.printf("leastwatt is %.2f %% above %s at %s, load %.1f, servers %s\n", 100*gap, n, c.trace, c.load, c.mode())
		}
	}
	if found == 0 {
		w.printf("leastwatt is above no other strategy at equal waiting in any of these %d cells\n", len(cells))
	}
}

func (w *evalWriter) close() error {
	if w.err != nil || !w.asJSON {
		return w.err
	}
	e := json.NewEncoder(w.out)
	e.SetIndent("", "  ")
	return e.Encode(w.doc)
}
