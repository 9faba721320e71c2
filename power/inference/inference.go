// Package inference asks models that run elsewhere: servers of the Open Inference Protocol v2, over HTTP
// ([OpenInference]) or gRPC ([OpenInferenceGRPC]), and TensorFlow Serving ([TensorFlowServing]).
//
// Its main type is [Predictor], which makes a remote [Model] a power.Predictor. A decision must not wait for
// it: put a [Table] around it, which fetches each node's curve in the background, or a [Cache] where a caller
// may wait. Request bodies are those that WAO sends, so its model servers can be used as they are.
package inference

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math"
	"net/http"
	"time"

	"github.com/leastwatt/leastwatt/internal/boundedhttp"
	"github.com/leastwatt/leastwatt/power"
)

// A Model answers rows of features with a number each, usually watts. Infer is safe for concurrent use and
// returns when ctx is done. It returns as many numbers as rows, in their order, where NaN means that the
// server gave none for a row, or an error. It keeps no row.
type Model interface {
	Infer(ctx context.Context, rows [][]float64) ([]float64, error)
}

// ErrAnswer says that a server answered, but not with what was asked for: too few rows, text, an error
// object.
var ErrAnswer = errors.New("unusable answer")

// Auth adds credentials to a request. Its error must not contain them.
type Auth func(*http.Request) error

// Basic authorizes with a user and a password.
func Basic(user, password string) Auth { return Auth(boundedhttp.Basic(user, password)) }

// Bearer authorizes with a token.
func Bearer(token string) Auth { return Auth(boundedhttp.Bearer(token)) }

// BearerFile authorizes with a token that it reads from a file at every request, so that it may be renewed.
func BearerFile(path string) Auth { return Auth(boundedhttp.BearerFunc(boundedhttp.File(path))) }

// BasicFile authorizes with a user and a password that it reads from a file at every request.
func BasicFile(user, path string) Auth {
	return Auth(boundedhttp.BasicFunc(user, boundedhttp.File(path)))
}

// Options bound the exchange with a server. The zero value works.
type Options struct {
	Timeout  time.Duration // of one exchange; 0 means 10 s
	TLS      *tls.Config   // is cloned; nil verifies against the system's roots
	Auth     Auth          // nil sends no credentials
	MaxBytes int64         // of one answer; 0 means 4 MiB
}

func (o Options) client(url string) (*boundedhttp.Client, error) {
	return boundedhttp.New(url, boundedhttp.Options{Timeout: o.Timeout, TLS: o.TLS, Auth: boundedhttp.Auth(o.Auth), MaxBytes: o.MaxBytes})
}

// A Feature is one column of a model's rows: (value of Input)·Scale + Offset, rounded to a multiple of Step.
type Feature struct {
	Input  power.Input
	Scale  float64 // 0 means 1
	Offset float64
	Step   float64 // 0 does not round
}

func (f Feature) of(s *power.State) (float64, error) {
	v, err := s.Value(f.Input)
	if err != nil {
		return 0, err
	}
	if f.Scale != 0 {
		v *= f.Scale
	}
	v += f.Offset
	if f.Step > 0 {
		v = math.Round(v/f.Step) * f.Step
	}
	return v, nil
}

// MinMax is the feature that maps an input from low–high to 0–1, as WAO v1 does with the limits in its node
// labels; it rounds to a multiple of step where step is over 0 (WAO v1: 0.1).
func MinMax(in power.Input, low, high, step float64) (Feature, error) {
	f := Feature{Input: in, Scale: 1 / (high - low), Offset: -low / (high - low), Step: step}
	if !(high > low) || math.IsInf(f.Scale, 0) || math.IsInf(f.Offset, 0) {
		return Feature{}, fmt.Errorf("feature %q: cannot map %v–%v to 0–1", in, low, high)
	}
	return f, nil
}

// WAO returns the features of WAO v2's models, in their order: CPU in use, inlet temperature in °C, static
// pressure difference in Pa. CPU is sent in cores out of those of the server, or with cores 100 in percent.
func WAO(cores float64) []Feature {
	return []Feature{{Input: power.InputUtilization, Scale: cores}, {Input: power.InputInletTemp}, {Input: power.InputPressureDelta}}
}

// A Predictor asks a remote model. Every call waits for the server.
type Predictor struct {
	model    Model
	features []Feature
	batch    int
}

// PredictorOptions tune a [Predictor]. The zero value works.
type PredictorOptions struct {
	MaxBatch int // rows in one request; 0 means 4096
}

// New returns the predictor that sends the features to the model and takes its numbers as watts.
func New(m Model, features []Feature, o PredictorOptions) (*Predictor, error) {
	if m == nil {
		return nil, fmt.Errorf("remote model: %w", power.ErrNoModel)
	}
	if len(features) == 0 || len(features) > power.MaxInputs {
		return nil, fmt.Errorf("remote model: %d features: want 1 to %d", len(features), power.MaxInputs)
	}
	for i, f := range features {
		if f.Input == "" || math.IsNaN(f.Scale+f.Offset+f.Step) || math.IsInf(f.Scale+f.Offset+f.Step, 0) || f.Step < 0 {
			return nil, fmt.Errorf("remote model, feature %d: %+v makes no sense", i, f)
		}
	}
	if o.MaxBatch <= 0 {
		o.MaxBatch = 4096
	}
	return &Predictor{model: m, features: append([]Feature(nil), features...), batch: o.MaxBatch}, nil
}

// Predict implements [power.Predictor].
func (p *Predictor) Predict(ctx context.Context, s power.State) (power.Watts, error) {
	var out [1]power.Estimate
	p.PredictBatch(ctx, []power.State{s}, out[:])
	return out[0].Watts, out[0].Err
}

// PredictBatch implements [power.BatchPredictor]: all states in one request, or in as few as MaxBatch allows.
// A request that fails is the error of its states alone.
func (p *Predictor) PredictBatch(ctx context.Context, states []power.State, out []power.Estimate) {
	rows, from := make([][]float64, 0, len(states)), make([]int, 0, len(states))
	flat := make([]float64, len(states)*len(p.features))
	for i := range states {
		row := flat[:len(p.features):len(p.features)]
		var err error
		for k := range p.features {
			if row[k], err = p.features[k].of(&states[i]); err != nil {
				break
			}
		}
		if err != nil {
			out[i] = power.Estimate{Err: err}
			continue
		}
		flat = flat[len(p.features):]
		rows, from = append(rows, row), append(from, i)
	}
	for len(rows) > 0 {
		n := min(len(rows), p.batch)
		values, err := p.model.Infer(ctx, rows[:n:n])
		if err == nil && len(values) != n {
			err = fmt.Errorf("%w: %d numbers for %d rows", ErrAnswer, len(values), n)
		}
		for k, i := range from[:n] {
			if err != nil {
				out[i] = power.Estimate{Err: fmt.Errorf("node %q: remote model: %w", states[i].Node, err)}
				continue
			}
			w, err := power.Check(values[k])
			if err != nil {
				err = fmt.Errorf("node %q: remote model: %w", states[i].Node, err)
			}
			out[i] = power.Estimate{Watts: w, Err: err}
		}
		rows, from = rows[n:], from[n:]
	}
}

// Inputs implements [power.InputLister].
func (p *Predictor) Inputs() []power.Input {
	in := make([]power.Input, 0, len(p.features))
	seen := make(map[power.Input]bool)
	for _, f := range p.features {
		if !seen[f.Input] {
			in, seen[f.Input] = append(in, f.Input), true
		}
	}
	return in
}
