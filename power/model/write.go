package model

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"time"

	"github.com/leastwatt/leastwatt/power"
)

// Marshal writes a model as [Unmarshal] reads it back, to the last bit of every number. The same model always
// gives the same bytes. A form that the format does not know, and a model that Unmarshal would refuse, are
// errors.
func Marshal(m *Model) ([]byte, error) {
	if err := m.validate(); err != nil {
		return nil, err
	}
	form, err := encodeForm(m.Form, 1)
	if err != nil {
		return nil, fmt.Errorf("model %q: %w", m.Name, err)
	}
	f := file{Format: Format, Name: m.Name, Prior: m.Prior, Inputs: []fileInput{}, Form: form, Domain: encodeDomain(m.Domain)}
	needs, known := power.Inputs(m.Form)
	if !known {
		return nil, fmt.Errorf("model %q: %T does not tell its inputs", m.Name, m.Form)
	}
	for _, in := range needs {
		f.Inputs = append(f.Inputs, fileInput{in, m.unit(in)})
	}
	f.Outside = encodeOutside(m.Outside)
	for _, b := range m.Intervals {
		f.Intervals = append(f.Intervals, fileBand(b))
	}
	if x := m.Fitted; x != nil {
		f.Fitted = &fileFitted{x.Source, x.Server, x.Samples, x.From.UTC(), x.To.UTC()}
	}
	if x := m.Error; x != nil {
		f.Error = &fileError{x.Method, x.MAPE, x.RMSE, x.Samples}
	}
	if len(m.Learner) > 0 {
		if err := scan(m.Learner); err != nil {
			return nil, fmt.Errorf("model %q: learner: %w", m.Name, err)
		}
		f.Learner = compact(m.Learner)
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(f); err != nil {
		return nil, fmt.Errorf("model %q: %w", m.Name, err)
	}
	out := indent(b.Bytes())
	if _, err := Unmarshal(out); err != nil {
		return nil, fmt.Errorf("model %q would not be read back: %w", m.Name, err)
	}
	return out, nil
}

// WriteFile writes a model to a file as a whole: a reader sees the old file or the new one, never a part.
func WriteFile(name string, m *Model) error {
	data, err := Marshal(m)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // after the rename there is nothing left to remove
	if _, err := f.Write(data); err != nil {
		f.Close()
		return err
	}
	if err := f.Chmod(0o644); err != nil {
		f.Close()
		return err
	}
	if err := f.Sync(); err != nil {
		f.Close()
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), name)
}

type file struct {
	Format    string          `json:"format"`
	Name      string          `json:"name"`
	Prior     bool            `json:"prior,omitzero"`
	Inputs    []fileInput     `json:"inputs"`
	Form      any             `json:"form"`
	Domain    []fileRange     `json:"domain,omitzero"`
	Outside   string          `json:"outside,omitzero"`
	Intervals []fileBand      `json:"intervals,omitzero"`
	Fitted    *fileFitted     `json:"fitted,omitzero"`
	Error     *fileError      `json:"error,omitzero"`
	Learner   json.RawMessage `json:"learner,omitzero"`
}

type fileInput struct {
	Name power.Input `json:"name"`
	Unit string      `json:"unit"`
}

type fileRange struct {
	Input power.Input `json:"input"`
	Low   *float64    `json:"low,omitzero"` // left out: open
	High  *float64    `json:"high,omitzero"`
}

type fileBand struct {
	Level      float64     `json:"level"`
	Below      power.Watts `json:"below"`
	Above      power.Watts `json:"above"`
	BelowShare float64     `json:"belowShare"`
	AboveShare float64     `json:"aboveShare"`
}

type fileFitted struct {
	Source  string    `json:"source,omitzero"`
	Server  string    `json:"server,omitzero"`
	Samples int       `json:"samples,omitzero"`
	From    time.Time `json:"from,omitzero"`
	To      time.Time `json:"to,omitzero"`
}

type fileError struct {
	Method  string      `json:"method,omitzero"`
	MAPE    float64     `json:"mape"`
	RMSE    power.Watts `json:"rmse"`
	Samples int         `json:"samples,omitzero"`
}

func encodeDomain(d power.Domain) []fileRange {
	if d == nil {
		return nil
	}
	out := make([]fileRange, 0, len(d))
	for _, in := range sortedInputs(d) {
		r := fileRange{Input: in}
		if v := d[in].Low; !math.IsInf(v, -1) {
			r.Low = &v
		}
		if v := d[in].High; !math.IsInf(v, 1) {
			r.High = &v
		}
		out = append(out, r)
	}
	return out
}

// encodeOutside leaves out what is usual.
func encodeOutside(o power.Outside) string {
	if o == power.Reject {
		return outsideError
	}
	return ""
}

func compact(raw []byte) []byte {
	var b bytes.Buffer
	if err := json.Compact(&b, raw); err != nil {
		return raw // scan has seen that it is valid
	}
	return b.Bytes()
}
