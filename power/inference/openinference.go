package inference

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"

	"github.com/leastwatt/leastwatt/internal/boundedhttp"
)

// WAOInput is the name of the input tensor that WAO sends, and the default here.
const WAOInput = "predict-prob"

// OpenInferenceOptions tune [OpenInference] and [OpenInferenceGRPC]. The zero value works.
type OpenInferenceOptions struct {
	Options
	Version  string // of the model; "" lets the server choose
	Input    string // name of the input tensor; "" means [WAOInput]
	Output   string // name of the output tensor; "" takes the first
	Datatype string // of the input tensor: "FP32" (the default) or "FP64"
}

func (o *OpenInferenceOptions) defaults(model string) error {
	o.Input, o.Datatype = cmp.Or(o.Input, WAOInput), cmp.Or(o.Datatype, fp32)
	if o.Datatype != fp32 && o.Datatype != fp64 {
		return fmt.Errorf("datatype %q is not known: want %s or %s", o.Datatype, fp32, fp64)
	}
	if model == "" {
		return fmt.Errorf("the model has no name")
	}
	return nil
}

const (
	fp32 = "FP32"
	fp64 = "FP64"
)

// OpenInference is a model behind an Open Inference Protocol v2 server over HTTP: KServe, Triton, MLServer and
// others.
type OpenInference struct {
	client *boundedhttp.Client
	path   string
	opts   OpenInferenceOptions
}

// NewOpenInference returns the model of a name on the server at base, as "https://host:port". It connects to
// nothing.
func NewOpenInference(base, model string, o OpenInferenceOptions) (*OpenInference, error) {
	if err := o.defaults(model); err != nil {
		return nil, fmt.Errorf("open inference: %w", err)
	}
	c, err := o.client(base)
	if err != nil {
		return nil, fmt.Errorf("open inference: %w", err)
	}
	path := "/v2/models/" + url.PathEscape(model)
	if o.Version != "" {
		path += "/versions/" + url.PathEscape(o.Version)
	}
	return &OpenInference{client: c, path: path + "/infer", opts: o}, nil
}

type v2Tensor struct {
	Name     string      `json:"name"`
	Shape    []int       `json:"shape"`
	Datatype string      `json:"datatype"`
	Data     [][]float64 `json:"data"`
}

type v2Answer struct {
	Error   json.RawMessage `json:"error"`
	Outputs []struct {
		Name string          `json:"name"`
		Data json.RawMessage `json:"data"`
	} `json:"outputs"`
}

// Infer implements [Model]: one request for all rows.
func (m *OpenInference) Infer(ctx context.Context, in [][]float64) ([]float64, error) {
	if err := checkRows(in); err != nil {
		return nil, fmt.Errorf("open inference: %w", err)
	}
	body, err := json.Marshal(struct {
		Inputs []v2Tensor `json:"inputs"`
	}{[]v2Tensor{{Name: m.opts.Input, Shape: []int{len(in), len(in[0])}, Datatype: m.opts.Datatype, Data: in}}})
	if err != nil {
		return nil, fmt.Errorf("open inference: %w", err)
	}
	answer, err := post(ctx, m.client, m.path, body)
	if err != nil {
		return nil, fmt.Errorf("open inference: %w", err)
	}
	out, err := m.opts.parse(answer, len(in))
	if err != nil {
		return nil, fmt.Errorf("open inference: %s%s: %w", m.client.Base(), m.path, err)
	}
	return out, nil
}

// parse reads the body of an answer to n rows.
func (o *OpenInferenceOptions) parse(body []byte, n int) ([]float64, error) {
	var a v2Answer
	if err := json.Unmarshal(body, &a); err != nil {
		return nil, fmt.Errorf("%w: %v in %q", ErrAnswer, err, brief(string(body)))
	}
	if err := serverError(a.Error); err != nil {
		return nil, err
	}
	for _, t := range a.Outputs {
		if o.Output == "" || o.Output == t.Name {
			return rows(t.Data, n)
		}
	}
	return nil, fmt.Errorf("%w: %d output tensors, none named %q", ErrAnswer, len(a.Outputs), o.Output)
}

// post sends a body and returns the answer's.
func post(ctx context.Context, c *boundedhttp.Client, path string, body []byte) ([]byte, error) {
	h := http.Header{"Content-Type": {"application/json"}, "Accept": {"application/json"}}
	r, err := c.Do(ctx, http.MethodPost, path, h, body)
	if err != nil {
		return nil, err
	}
	return r.Body, nil
}

// Close closes unused connections.
func (m *OpenInference) Close() { m.client.Close() }
