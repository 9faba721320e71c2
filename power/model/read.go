package model

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"slices"

	"github.com/leastwatt/leastwatt/power"
)

// Unmarshal reads a model. It is strict: a field that is unknown, missing, null, given twice or of the wrong
// type is an error that gives its path, as is anything that the form refuses.
func Unmarshal(data []byte) (*Model, error) {
	if err := scan(data); err != nil {
		return nil, err
	}
	d := &decoder{}
	m := d.model(d.object("", data))
	if d.err != nil {
		return nil, d.err
	}
	if err := m.validate(); err != nil {
		return nil, err
	}
	return m, nil
}

// ReadFile reads a model from a file. Errors begin with its name.
func ReadFile(name string) (*Model, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := read(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	m, err := Unmarshal(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return m, nil
}

// read reads no more of r than one file may hold.
func read(r io.Reader) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, MaxSize+1))
	if err != nil {
		return nil, err
	}
	if len(data) > MaxSize {
		return nil, fmt.Errorf("longer than %d bytes", MaxSize)
	}
	return data, nil
}

func (d *decoder) model(o *object) *Model {
	if f := o.text("format"); d.err == nil && f != Format {
		d.fail("format", "%q is not known: this program reads %q", f, Format)
		return nil
	}
	m := &Model{Name: o.text("name")}
	if o.has("prior") {
		m.Prior = o.flag("prior")
	}
	m.Form = d.form(o.raw("form"), o.at("form"), 1)
	d.inputs(o, m)
	if o.has("domain") {
		m.Domain = make(power.Domain)
		for _, r := range o.list("domain", power.MaxInputs) {
			in := power.Input(r.text("input"))
			if _, twice := m.Domain[in]; twice {
				d.fail(r.path, "input %q is given twice", in)
			}
			m.Domain[in] = power.Range{Low: r.end("low", -1), High: r.end("high", 1)}
			r.done()
		}
	}
	m.Outside = o.outside()
	if o.has("intervals") {
		for _, b := range o.list("intervals", 1000) {
			m.Intervals = append(m.Intervals, power.Band{
				Level: b.number("level"),
				Below: power.Watts(b.number("below")), Above: power.Watts(b.number("above")),
				BelowShare: b.number("belowShare"), AboveShare: b.number("aboveShare"),
			})
			b.done()
		}
	}
	if o.has("fitted") {
		f := d.object("fitted", o.raw("fitted"))
		m.Fitted = &Fitted{}
		if f.has("source") {
			m.Fitted.Source = f.text("source")
		}
		if f.has("server") {
			m.Fitted.Server = f.text("server")
		}
		if f.has("samples") {
			m.Fitted.Samples = f.integer("samples")
		}
		if f.has("from") {
			m.Fitted.From = f.moment("from")
		}
		if f.has("to") {
			m.Fitted.To = f.moment("to")
		}
		f.done()
	}
	if o.has("error") {
		e := d.object("error", o.raw("error"))
		m.Error = &Error{MAPE: e.number("mape"), RMSE: power.Watts(e.number("rmse"))}
		if e.has("method") {
			m.Error.Method = e.text("method")
		}
		if e.has("samples") {
			m.Error.Samples = e.integer("samples")
		}
		e.done()
	}
	if o.has("learner") {
		m.Learner = compact(o.raw("learner"))
	}
	o.done()
	return m
}

// inputs reads the names and units, which must be those that the form needs.
func (d *decoder) inputs(o *object, m *Model) {
	var names []power.Input
	for _, in := range o.list("inputs", power.MaxInputs) {
		name, unit := power.Input(in.text("name")), in.text("unit")
		in.done()
		if slices.Contains(names, name) {
			d.fail(in.path, "input %q is given twice", name)
		}
		names = append(names, name)
		switch known := m.unit(name); {
		case unit == "":
			d.fail(in.at("unit"), "input %q needs a unit", name)
		case known != "" && known != unit:
			d.fail(in.at("unit"), "the unit of %q is %s, not %s", name, known, unit)
		case known == "":
			if m.Units == nil {
				m.Units = make(map[power.Input]string)
			}
			m.Units[name] = unit
		}
	}
	if d.err != nil {
		return
	}
	needs, _ := power.Inputs(m.Form)
	for _, in := range needs {
		if !slices.Contains(names, in) {
			d.fail(o.at("inputs"), "the form needs %q, which is not listed", in)
		}
	}
	for i, in := range names {
		if !slices.Contains(needs, in) {
			d.fail(fmt.Sprintf("%s[%d]", o.at("inputs"), i), "the form does not need %q", in)
		}
	}
}

// end reads one end of a range; an end that is left out is open.
func (o *object) end(name string, sign int) float64 {
	if !o.has(name) {
		o.seen = append(o.seen, name)
		return math.Inf(sign)
	}
	return o.number(name)
}

// outside reads what a model does outside its domain; left out it clamps.
func (o *object) outside() power.Outside {
	if !o.has("outside") {
		o.seen = append(o.seen, "outside")
		return power.Clamp
	}
	switch v := o.text("outside"); v {
	case outsideClamp:
		return power.Clamp
	case outsideError:
		return power.Reject
	default:
		o.d.fail(o.at("outside"), "%q is not known: want %q or %q", v, outsideClamp, outsideError)
	}
	return power.Clamp
}

const (
	outsideClamp = "clamp"
	outsideError = "error"
)

// form reads a model form and what it wraps.
func (d *decoder) form(raw json.RawMessage, path string, depth int) power.Predictor {
	if d.err != nil {
		return nil
	}
	if depth > MaxDepth {
		d.fail(path, "more than %d models wrapped in one another", MaxDepth)
		return nil
	}
	o := d.object(path, raw)
	kind := o.text("kind")
	if d.err != nil {
		return nil
	}
	i := slices.IndexFunc(kinds, func(k formKind) bool { return k.name == kind })
	if i < 0 {
		names := make([]string, len(kinds))
		for i, k := range kinds {
			names[i] = k.name
		}
		d.fail(o.at("kind"), "%q is not known: want one of %v", kind, names)
		return nil
	}
	var base power.Predictor
	if kinds[i].wraps {
		base = d.form(o.raw("base"), o.at("base"), depth+1)
	}
	p, err := kinds[i].read(o, base)
	if o.done(); d.err != nil {
		return nil
	}
	if err != nil {
		d.fail(path, "%w", err)
		return nil
	}
	return p
}
