package inference_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"

	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/power/inference"
	"github.com/leastwatt/leastwatt/power/powertest"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// truth is the model that the servers of these tests serve.
func truth(row []float64) float64 { return 50 + 3*row[0] + row[1] + 0.5*row[2] }

var features = inference.WAO(32)

func state(u float64) power.State {
	return power.State{Node: "n", Utilization: u, InletTemp: new(power.Celsius(24)), PressureDelta: new(power.Pascals(2))}
}

// serve answers requests of both HTTP protocols with truth, and keeps the last request.
type serve struct {
	path, auth string
	body       []byte
}

func (s *serve) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.path, s.auth = r.URL.EscapedPath(), r.Header.Get("Authorization")
	s.body, _ = io.ReadAll(r.Body)
	var q struct {
		Inputs    json.RawMessage
		Instances [][]float64
	}
	if err := json.Unmarshal(s.body, &q); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	reply := func(v any) { _ = json.NewEncoder(w).Encode(v) }
	watts := func(rows [][]float64) (nested [][]float64, flat []float64) {
		for _, r := range rows {
			nested, flat = append(nested, []float64{truth(r)}), append(flat, truth(r))
		}
		return nested, flat
	}
	var rows [][]float64
	switch {
	case strings.HasPrefix(s.path, "/v2/"):
		var tensors []struct{ Data [][]float64 }
		_ = json.Unmarshal(q.Inputs, &tensors)
		_, flat := watts(tensors[0].Data)
		reply(map[string]any{"model_name": "m", "outputs": []any{map[string]any{"name": "w", "datatype": "FP32", "shape": []int{len(flat)}, "data": flat}}})
	case q.Instances != nil:
		nested, _ := watts(q.Instances)
		reply(map[string]any{"predictions": nested})
	default:
		_ = json.Unmarshal(q.Inputs, &rows)
		nested, _ := watts(rows)
		reply(map[string]any{"outputs": nested})
	}
}

func TestBodiesAreThoseOfWAO(t *testing.T) {
	h := &serve{}
	srv := httptest.NewServer(h)
	defer srv.Close()
	for _, c := range []struct {
		name       string
		model      inference.Model
		features   []inference.Feature
		path, body string
	}{
		{"WAO v2", must(inference.NewOpenInference(srv.URL, "model1", inference.OpenInferenceOptions{Version: "v0.1.0"})), features,
			"/v2/models/model1/versions/v0.1.0/infer",
			`{"inputs":[{"name":"predict-prob","shape":[1,3],"datatype":"FP32","data":[[8,24,2]]}]}`},
		{"no version", must(inference.NewOpenInference(srv.URL, "a/b", inference.OpenInferenceOptions{Input: "x", Datatype: "FP64"})), features,
			"/v2/models/a%2Fb/infer",
			`{"inputs":[{"name":"x","shape":[1,3],"datatype":"FP64","data":[[8,24,2]]}]}`},
		{"WAO v1", must(inference.NewTensorFlowServing(srv.URL, "NAME", inference.TensorFlowOptions{Signature: "NAME"})),
			[]inference.Feature{
				{Input: power.InputUtilization},
				must(inference.MinMax(power.InputInletTemp, 11.5, 36.5, 0.1)),
				must(inference.MinMax("cpu1", 24, 42, 0.1)),
				must(inference.MinMax("cpu2", 23, 49, 0.1)),
			},
			"/v1/models/NAME:predict", `{"inputs":[[0.25,0.5,0.5,0.5]],"signature_name":"NAME"}`},
		{"row form", must(inference.NewTensorFlowServing(srv.URL, "NAME", inference.TensorFlowOptions{Instances: true, Version: "3"})), features,
			"/v1/models/NAME/versions/3:predict", `{"instances":[[8,24,2]]}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := must(inference.New(c.model, c.features, inference.PredictorOptions{}))
			s := state(0.25)
			s.Inputs = map[string]float64{"cpu1": 33, "cpu2": 36}
			w, err := p.Predict(t.Context(), s)
			if err != nil {
				t.Fatal(err)
			}
			if h.path != c.path || string(h.body) != c.body {
				t.Errorf("sent %s\n%s\nwant %s\n%s", h.path, h.body, c.path, c.body)
			}
			if c.name != "WAO v1" && w != 50+24+24+1 {
				t.Errorf("%v, want 99 W", w)
			}
		})
	}
}

// The readings 24, 33 and 36 °C with WAO v1's labels ambient 11.5–36.5, cpu1 24–42, cpu2 23–49 are 0.5 each.
func TestMinMaxRefusesAnEmptyRange(t *testing.T) {
	for _, r := range [][2]float64{{24, 24}, {42, 24}} {
		if _, err := inference.MinMax("cpu1", r[0], r[1], 0.1); err == nil {
			t.Errorf("%v is accepted", r)
		}
	}
}

func TestEveryBackEndKeepsTheContract(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { (&serve{}).ServeHTTP(w, r) }))
	defer srv.Close()
	rpc := must(inference.NewOpenInferenceGRPC(grpcServer(t, nil, answer), "m", inference.OpenInferenceOptions{}))
	defer rpc.Close()
	for name, m := range map[string]inference.Model{
		"open inference":      must(inference.NewOpenInference(srv.URL, "m", inference.OpenInferenceOptions{})),
		"open inference gRPC": rpc,
		"tensorflow inputs":   must(inference.NewTensorFlowServing(srv.URL, "m", inference.TensorFlowOptions{})),
		"tensorflow rows":     must(inference.NewTensorFlowServing(srv.URL, "m", inference.TensorFlowOptions{Instances: true})),
	} {
		t.Run(name, func(t *testing.T) {
			p := must(inference.New(m, features, inference.PredictorOptions{MaxBatch: 2}))
			if err := powertest.TestPredictor(p, state(0), state(0.5), state(1)); err != nil {
				t.Error(err)
			}
			c := must(inference.NewCache(p, inference.CacheOptions{}))
			if err := powertest.TestPredictor(c, state(0), state(0.5), state(1)); err != nil {
				t.Errorf("cached: %v", err)
			}
			table := must(inference.NewTable(p, inference.TableOptions{}))
			if _, err := table.Predict(t.Context(), state(0)); !errors.Is(err, inference.ErrNotTabulated) {
				t.Errorf("before the first refresh: %v, want ErrNotTabulated", err)
			}
			if err := table.Refresh(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := powertest.TestPredictor(table, state(0), state(0.5), state(1)); err != nil {
				t.Errorf("tabulated: %v", err)
			}
		})
	}
}

func TestBadServers(t *testing.T) {
	const tf, v2 = "tf", "v2"
	for name, c := range map[string]struct {
		status int
		body   string
		want   string
	}{
		"fewer rows v2":       {200, `{"outputs":[{"data":[1]}]}`, "1 numbers for 2 rows"},
		"more rows v2":        {200, `{"outputs":[{"data":[1,2,3]}]}`, "more than 2"},
		"no rows v2":          {200, `{"outputs":[{"data":[]}]}`, "0 numbers for 2 rows"},
		"no outputs v2":       {200, `{"outputs":[]}`, "0 output tensors"},
		"no data v2":          {200, `{"outputs":[{}]}`, "no array"},
		"text v2":             {200, `so many watts`, "so many watts"},
		"text in a row v2":    {200, `{"outputs":[{"data":[1,"two"]}]}`, "two"},
		"object in a row v2":  {200, `{"outputs":[{"data":[1,{}]}]}`, "an object"},
		"NaN v2":              {200, `{"outputs":[{"data":[1,NaN]}]}`, "invalid character"},
		"null v2":             {200, `{"outputs":[{"data":[null,null]}]}`, "not a finite"},
		"huge number v2":      {200, `{"outputs":[{"data":[1e999,1]}]}`, "1e999"},
		"negative v2":         {200, `{"outputs":[{"data":[-1,-1]}]}`, "not a finite"},
		"nested v2":           {200, `{"outputs":[{"data":` + strings.Repeat("[", 1000) + `}]}`, "unusable answer"},
		"error object v2":     {200, `{"error":"model not found"}`, "model not found"},
		"error in JSON v2":    {200, `{"error":{"code":5}}`, "code"},
		"status v2":           {500, `{"error":"x"}`, "status 500"},
		"too long v2":         {200, `{"outputs":[{"data":[` + strings.Repeat(" ", 5<<20) + `1,2]}]}`, "too large"},
		"empty v2":            {200, ``, "unexpected end"},
		"fewer rows tf":       {200, `{"outputs":[[1]]}`, "1 numbers for 2 rows"},
		"wrong form tf":       {200, `{"predictions":[[1],[2]]}`, "no array"},
		"error object tf":     {200, `{"error":"signature"}`, "signature"},
		"named outputs tf":    {200, `{"outputs":{"watts":[[1],[2]]}}`, "an object"},
		"unauthorized tf":     {401, ``, "status 401"},
		"not an object tf":    {200, `[1,2]`, "cannot unmarshal"},
		"too many columns tf": {200, `{"outputs":[[1,2],[3,4]]}`, "more than 2"},
	} {
		t.Run(name, func(t *testing.T) {
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(c.status)
				_, _ = io.WriteString(w, c.body)
			}))
			defer srv.Close()
			o := inference.Options{Auth: inference.Basic("user", "hunter2")}
			var m inference.Model = must(inference.NewOpenInference(srv.URL, "m", inference.OpenInferenceOptions{Options: o}))
			if strings.HasSuffix(name, tf) {
				m = must(inference.NewTensorFlowServing(srv.URL, "m", inference.TensorFlowOptions{Options: o}))
			} else if !strings.HasSuffix(name, v2) {
				t.Fatal("which protocol?")
			}
			p := must(inference.New(m, features, inference.PredictorOptions{}))
			out := make([]power.Estimate, 2)
			power.PredictAll(t.Context(), p, []power.State{state(0), state(1)}, out)
			for _, e := range out {
				if e.Err == nil || !strings.Contains(e.Err.Error(), c.want) || !strings.Contains(e.Err.Error(), `node "n"`) {
					t.Errorf("%v, %v; want an error with %q and the node", e.Watts, e.Err, c.want)
				} else if strings.Contains(e.Err.Error(), "hunter2") {
					t.Errorf("a credential in %v", e.Err)
				} else if len(e.Err.Error()) > 500 {
					t.Errorf("an error of %d bytes", len(e.Err.Error()))
				}
			}
		})
	}
}

func TestOneBadRowIsItsOwn(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"outputs":[{"data":[[7],[null],[9]]}]}`)
	}))
	defer srv.Close()
	p := must(inference.New(must(inference.NewOpenInference(srv.URL, "m", inference.OpenInferenceOptions{})), features, inference.PredictorOptions{}))
	out := make([]power.Estimate, 4)
	power.PredictAll(t.Context(), p, []power.State{state(0), {Node: "blind"}, state(0.5), state(1)}, out)
	if out[0].Watts != 7 || out[3].Watts != 9 || out[0].Err != nil || out[3].Err != nil {
		t.Errorf("%v: want 7 W first and 9 W last", out)
	}
	if !errors.Is(out[1].Err, power.ErrMissingInput) || !errors.Is(out[2].Err, power.ErrNotFinite) {
		t.Errorf("%v: want a missing input and a number that is none", out)
	}
}

func TestServerThatNeverAnswers(t *testing.T) {
	stop := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-stop:
		case <-r.Context().Done():
		}
	}))
	defer srv.Close()
	defer close(stop)
	rpc := must(inference.NewOpenInferenceGRPC(grpcServer(t, nil, func(ctx context.Context, _ []byte) ([]byte, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}), "m", inference.OpenInferenceOptions{Options: inference.Options{Timeout: 20 * time.Millisecond}}))
	defer rpc.Close()
	for name, m := range map[string]inference.Model{
		"HTTP": must(inference.NewOpenInference(srv.URL, "m", inference.OpenInferenceOptions{Options: inference.Options{Timeout: 20 * time.Millisecond}})),
		"gRPC": rpc,
	} {
		if _, err := m.Infer(t.Context(), [][]float64{{1}}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %v, want its deadline", name, err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := m.Infer(ctx, [][]float64{{1}}); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v, want the caller's end", name, err)
		}
	}
}

func TestTLSAndCredentials(t *testing.T) {
	h := &serve{}
	srv := httptest.NewUnstartedServer(h)
	srv.Config.ErrorLog = log.New(io.Discard, "", 0) // it complains of clients that do not trust it
	srv.StartTLS()
	defer srv.Close()
	pool := x509.NewCertPool()
	pool.AddCert(srv.Certificate())
	trusted := &tls.Config{RootCAs: pool}
	rows := [][]float64{{1, 2, 3}}
	if _, err := must(inference.NewOpenInference(srv.URL, "m", inference.OpenInferenceOptions{})).Infer(t.Context(), rows); err == nil {
		t.Error("an unknown certificate is accepted")
	}
	for auth, want := range map[string]inference.Auth{"Basic dTpw": inference.Basic("u", "p"), "Bearer tok": inference.Bearer("tok")} {
		m := must(inference.NewOpenInference(srv.URL, "m", inference.OpenInferenceOptions{Options: inference.Options{TLS: trusted, Auth: want}}))
		if out, err := m.Infer(t.Context(), rows); err != nil || out[0] != truth(rows[0]) || h.auth != auth {
			t.Errorf("%v, %v with %q; want %v with %q", out, err, h.auth, truth(rows[0]), auth)
		}
		// The same over gRPC, with the same certificate.
		var got string
		target := grpcServer(t, srv.TLS, func(ctx context.Context, q []byte) ([]byte, error) {
			md, _ := metadata.FromIncomingContext(ctx)
			got = strings.Join(md.Get("authorization"), ",")
			return answer(ctx, q)
		})
		rpc := must(inference.NewOpenInferenceGRPC(target, "m", inference.OpenInferenceOptions{Options: inference.Options{TLS: trusted, Auth: want}}))
		if out, err := rpc.Infer(t.Context(), rows); err != nil || out[0] != truth(rows[0]) || got != auth {
			t.Errorf("gRPC: %v, %v with %q; want %v with %q", out, err, got, truth(rows[0]), auth)
		}
		rpc.Close()
	}
	if _, err := inference.NewOpenInference("https://u:p@host", "m", inference.OpenInferenceOptions{}); err == nil || strings.Contains(err.Error(), "u:p") {
		t.Errorf("credentials in a URL: %v", err)
	}
}

// grpcServer serves ModelInfer and returns its target.
func grpcServer(t *testing.T, cert *tls.Config, infer func(context.Context, []byte) ([]byte, error)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	opts := []grpc.ServerOption{grpc.ForceServerCodec(rawCodec{}), grpc.UnknownServiceHandler(func(_ any, s grpc.ServerStream) error {
		method, _ := grpc.MethodFromServerStream(s)
		if method != "/inference.GRPCInferenceService/ModelInfer" {
			return errors.New("unknown method " + method)
		}
		var q []byte
		if err := s.RecvMsg(&q); err != nil {
			return err
		}
		a, err := infer(s.Context(), q)
		if err != nil {
			return err
		}
		return s.SendMsg(&a)
	})}
	scheme := "grpc://"
	if cert != nil {
		opts, scheme = append(opts, grpc.Creds(credentials.NewTLS(&tls.Config{Certificates: cert.Certificates}))), "grpcs://"
	}
	s := grpc.NewServer(opts...)
	go func() { _ = s.Serve(l) }()
	t.Cleanup(s.Stop)
	return scheme + l.Addr().String()
}

type rawCodec struct{}

func (rawCodec) Name() string                  { return "proto" }
func (rawCodec) Marshal(v any) ([]byte, error) { return *v.(*[]byte), nil }
func (rawCodec) Unmarshal(data []byte, v any) error {
	*v.(*[]byte) = append([]byte(nil), data...)
	return nil
}
