package inference

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"

	"github.com/leastwatt/leastwatt/internal/boundedhttp"
)

// TensorFlowOptions tune [TensorFlowServing]. The zero value works.
type TensorFlowOptions struct {
	Options
	Version   string // of the model; "" lets the server choose
	Signature string // "" lets the server choose; WAO v1 sends the model's name
	Instances bool   // send rows as "instances" and read "predictions"; false sends "inputs" and reads "outputs"
	Output    string // name of the output where the model has several; "" wants just one
}

// TensorFlowServing is a model behind TensorFlow Serving's REST interface.
type TensorFlowServing struct {
	client *boundedhttp.Client
	path   string
	opts   TensorFlowOptions
}

// NewTensorFlowServing returns the model of a name on the server at base, as "http://host:8501". It connects
// to nothing.
func NewTensorFlowServing(base, model string, o TensorFlowOptions) (*TensorFlowServing, error) {
	if model == "" {
		return nil, fmt.Errorf("tensorflow serving: the model has no name")
	}
	c, err := o.client(base)
	if err != nil {
		return nil, fmt.Errorf("tensorflow serving: %w", err)
	}
	path := "/v1/models/" + url.PathEscape(model)
	if o.Version != "" {
		path += "/versions/" + url.PathEscape(o.Version)
	}
	return &TensorFlowServing{client: c, path: path + ":predict", opts: o}, nil
}

// Infer implements [Model]: one request for all rows.
func (m *TensorFlowServing) Infer(ctx context.Context, in [][]float64) ([]float64, error) {
	if err := checkRows(in); err != nil {
		return nil, fmt.Errorf("tensorflow serving: %w", err)
	}
	q := struct {
		Inputs    [][]float64 `json:"inputs,omitempty"`
		Instances [][]float64 `json:"instances,omitempty"`
		Signature string      `json:"signature_name,omitempty"`
	}{Signature: m.opts.Signature}
	if m.opts.Instances {
		q.Instances = in
	} else {
		q.Inputs = in
	}
	body, err := json.Marshal(q)
	if err != nil {
		return nil, fmt.Errorf("tensorflow serving: %w", err)
	}
	answer, err := post(ctx, m.client, m.path, body)
	if err != nil {
		return nil, fmt.Errorf("tensorflow serving: %w", err)
	}
	out, err := m.opts.parse(answer, len(in))
	if err != nil {
		return nil, fmt.Errorf("tensorflow serving: %s%s: %w", m.client.Base(), m.path, err)
	}
	return out, nil
}

// parse reads the body of an answer to n rows.
func (o *TensorFlowOptions) parse(body []byte, n int) ([]float64, error) {
	var a struct {
		Error       json.RawMessage `json:"error"`
		Outputs     json.RawMessage `json:"outputs"`
		Predictions json.RawMessage `json:"predictions"`
	}
	if err := json.Unmarshal(body, &a); err != nil {
		return nil, fmt.Errorf("%w: %v in %q", ErrAnswer, err, brief(string(body)))
	}
	if err := serverError(a.Error); err != nil {
		return nil, err
	}
	if !o.Instances {
		if o.Output == "" {
			return rows(a.Outputs, n)
		}
		var named map[string]json.RawMessage
		if err := json.Unmarshal(a.Outputs, &named); err != nil {
			return nil, fmt.Errorf("%w: outputs have no names", ErrAnswer)
		}
		return rows(named[o.Output], n)
	}
	if o.Output == "" {
		return rows(a.Predictions, n)
	}
	var named []map[string]json.RawMessage
	if err := json.Unmarshal(a.Predictions, &named); err != nil || len(named) != n {
		return nil, fmt.Errorf("%w: predictions are not %d objects with named outputs", ErrAnswer, n)
	}
	out := make([]float64, n)
	for i := range named {
		v, err := rows(named[i][o.Output], 1)
		if err != nil {
			return nil, err
		}
		out[i] = v[0]
	}
	return out, nil
}

// Close closes unused connections.
func (m *TensorFlowServing) Close() { m.client.Close() }
