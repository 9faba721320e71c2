package inference

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

const (
	inferMethod    = "/inference.GRPCInferenceService/ModelInfer"
	defaultTimeout = 10 * time.Second
	defaultBytes   = 4 << 20
)

// OpenInferenceGRPC is a model behind an Open Inference Protocol v2 server over gRPC.
type OpenInferenceGRPC struct {
	conn  *grpc.ClientConn
	model string
	opts  OpenInferenceOptions
}

// NewOpenInferenceGRPC returns the model of a name on the server at target, as "grpcs://host:port" over TLS or
// "grpc://host:port" without. It connects when first asked.
func NewOpenInferenceGRPC(target, model string, o OpenInferenceOptions) (*OpenInferenceGRPC, error) {
	if err := o.defaults(model); err != nil {
		return nil, fmt.Errorf("open inference: %w", err)
	}
	scheme, host, _ := strings.Cut(target, "://")
	var creds credentials.TransportCredentials
	switch {
	case host == "" || strings.ContainsAny(host, "/@?#"):
		return nil, errors.New("open inference: the target is not grpc://HOST:PORT or grpcs://HOST:PORT")
	case scheme == "grpcs":
		c := &tls.Config{MinVersion: tls.VersionTLS12}
		if o.TLS != nil {
			c = o.TLS.Clone()
		}
		creds = credentials.NewTLS(c)
	case scheme == "grpc" && o.TLS == nil:
		creds = insecure.NewCredentials()
	default:
		return nil, fmt.Errorf("open inference: scheme %q: want grpcs, or grpc without TLS options", scheme)
	}
	conn, err := grpc.NewClient("dns:///"+host,
		grpc.WithTransportCredentials(creds),
		grpc.WithNoProxy(),
		grpc.WithDisableServiceConfig(),
		grpc.WithDefaultCallOptions(
			grpc.ForceCodec(wireCodec{}),
			grpc.MaxCallRecvMsgSize(int(cmp.Or(o.MaxBytes, defaultBytes))),
		))
	if err != nil {
		return nil, fmt.Errorf("open inference: %s: %w", host, err)
	}
	return &OpenInferenceGRPC{conn: conn, model: model, opts: o}, nil
}

// Infer implements [Model]: one call for all rows.
func (m *OpenInferenceGRPC) Infer(ctx context.Context, in [][]float64) ([]float64, error) {
	if err := checkRows(in); err != nil {
		return nil, fmt.Errorf("open inference: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(m.opts.Timeout, defaultTimeout))
	defer cancel()
	if m.opts.Auth != nil {
		r := &http.Request{Header: make(http.Header)}
		if err := m.opts.Auth(r); err != nil {
			return nil, fmt.Errorf("open inference: %w", err)
		}
		if a := r.Header.Get("Authorization"); a != "" {
			ctx = metadata.AppendToOutgoingContext(ctx, "authorization", a)
		}
	}
	q := encodeInfer(m.model, &m.opts, in)
	var a wire
	if err := m.conn.Invoke(ctx, inferMethod, &q, &a); err != nil {
		return nil, fmt.Errorf("open inference: %s: %w", m.conn.Target(), statusError(ctx, err))
	}
	out, err := decodeInfer(a, m.opts.Output, len(in))
	if err != nil {
		return nil, fmt.Errorf("open inference: %s: %w", m.conn.Target(), err)
	}
	return out, nil
}

// statusError keeps a foreign server's message short, and a deadline a deadline, whichever side saw it first.
func statusError(ctx context.Context, err error) error {
	s := status.Convert(err)
	cause := ctx.Err()
	if cause == nil && s.Code() == codes.DeadlineExceeded {
		cause = context.DeadlineExceeded
	}
	if cause != nil {
		return fmt.Errorf("%w: %s", cause, brief(s.Message()))
	}
	return fmt.Errorf("%s: %s", s.Code(), brief(s.Message()))
}

// Close closes the connection. The model cannot be used after it.
func (m *OpenInferenceGRPC) Close() error { return m.conn.Close() }
