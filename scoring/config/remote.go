package config

import (
	"context"
	"crypto/tls"
	"log/slog"
	"time"

	"github.com/leastwatt/leastwatt/internal/boundedhttp"
	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/power/inference"
)

// asked is a predictor that asks model servers in the background, while Run runs.
type asked interface {
	power.Predictor
	Run(ctx context.Context) error
}

const defaultTimeout = 10 * time.Second

// readRemote reads a model that runs on a model server. Its predictor is a table that is empty until it runs,
// which a site's is.
func (m *Model) readRemote(p *place, s *remoteSection) error {
	o, ok := s.options(p)
	if o.Timeout = s.Timeout; o.Timeout == 0 {
		o.Timeout = defaultTimeout
	}
	features := featuresOf(s.Features)
	if s.Discover != nil {
		return m.readDiscover(p, s, o, features)
	}
	for _, f := range []struct{ name, value string }{{"url", s.URL}, {"model", s.Model}} {
		if f.value == "" {
			p.fail(f.name, "is missing")
			ok = false
		}
	}
	if !ok {
		return nil
	}
	remote, err := newRemote(s.Protocol, s.URL, s.Model, s.Version, o)
	if err != nil {
		return err
	}
	predictor, err := inference.New(remote, features, inference.PredictorOptions{})
	if err != nil {
		p.fail("features", "%w", err)
		return nil
	}
	m.remote = func(log *slog.Logger) (asked, error) {
		return inference.NewTable(predictor, inference.TableOptions{Logger: log})
	}
	if m.Predictor, err = m.remote(nil); err != nil {
		m.Predictor = nil
		p.fail("features", "%w", err)
	}
	return nil
}

func newRemote(protocol, url, name, version string, o inference.Options) (inference.Model, error) {
	switch protocol {
	case "openInferenceGRPC":
		return inference.NewOpenInferenceGRPC(url, name, inference.OpenInferenceOptions{Options: o, Version: version})
	case "tensorflowInputs", "tensorflowInstances":
		return inference.NewTensorFlowServing(url, name, inference.TensorFlowOptions{Options: o, Version: version, Instances: protocol == "tensorflowInstances"})
	}
	return inference.NewOpenInference(url, name, inference.OpenInferenceOptions{Options: o, Version: version})
}

// options returns how the server is asked; false where the file has that wrong.
func (s *server) options(p *place) (inference.Options, bool) {
	var o inference.Options
	ok := true
	fail := func(field, format string, args ...any) {
		p.fail(field, format, args...)
		ok = false
	}
	switch {
	case s.TokenFile != "" && (s.User != "" || s.PasswordFile != ""):
		fail("tokenFile", "excludes user and passwordFile")
	case (s.User != "") != (s.PasswordFile != ""):
		fail("user", "and passwordFile need each other")
	case s.TokenFile != "":
		o.Auth = inference.BearerFile(p.doc.relative(s.TokenFile))
	case s.User != "":
		o.Auth = inference.BasicFile(s.User, p.doc.relative(s.PasswordFile))
	}
	if s.TLS != nil {
		var err error
		if o.TLS, err = s.TLS.config(p.doc); err != nil {
			fail("tls", "%w", err)
		}
	}
	return o, ok
}

func (t *tlsSettings) config(d *document) (*tls.Config, error) {
	return boundedhttp.TLS{CAFile: d.relative(t.CAFile), CertFile: d.relative(t.CertFile), KeyFile: d.relative(t.KeyFile),
		ServerName: t.ServerName, InsecureSkipVerify: t.InsecureSkipVerify}.Config()
}

func featuresOf(all []feature) (out []inference.Feature) {
	for _, f := range all {
		x := inference.Feature{Input: power.Input(f.Input), Scale: 1, Offset: f.Offset, Step: f.Step}
		if f.Scale != nil {
			x.Scale = *f.Scale
		}
		out = append(out, x)
	}
	return out
}
