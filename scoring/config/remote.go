package config

import (
	"log/slog"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/power/inference"
)

// readRemote reads a model that runs on a model server. Its predictor is a table that is empty until it runs,
// which a site's is.
func (m *Model) readRemote(s *section) {
	for _, field := range []string{"url", "model"} {
		if !s.has(field) {
			s.fail(field, "is missing")
		}
	}
	url, name, version := s.text("url", ""), s.text("model", ""), s.text("version", "")
	o := inference.Options{Timeout: s.duration("timeout", 10*time.Second)}
	if file := s.text("tokenFile", ""); file != "" {
		o.Auth = inference.BearerFile(s.doc.relative(file))
	}
	var remote inference.Model
	var err error
	switch p := s.text("protocol", "openInference"); p {
	case "openInference":
		remote, err = inference.NewOpenInference(url, name, inference.OpenInferenceOptions{Options: o, Version: version})
	case "tensorflowInputs", "tensorflowInstances":
		remote, err = inference.NewTensorFlowServing(url, name, inference.TensorFlowOptions{Options: o, Version: version, Instances: p == "tensorflowInstances"})
	default:
		s.fail("protocol", "is %q: want openInference, tensorflowInputs or tensorflowInstances", p)
		return
	}
	features := readFeatures(s)
	if s.has("inlet") {
		s.fail("inlet", "is not for a remote model: give it the feature inlet")
	}
	if err != nil {
		s.fail("", "%w", err)
		return
	}
	p, err := inference.New(remote, features, inference.PredictorOptions{})
	if err != nil {
		s.fail("features", "%w", err)
		return
	}
	m.remote = func(log *slog.Logger) (*inference.Table, error) {
		return inference.NewTable(p, inference.TableOptions{Logger: log})
	}
	table, err := m.remote(nil)
	if err != nil {
		s.fail("features", "%w", err)
		return
	}
	m.Predictor = table
}

func readFeatures(s *section) (out []inference.Feature) {
	s.list("features", func(n *yaml.Node, name string) {
		f := s.doc.section(n, name)
		out = append(out, inference.Feature{Input: power.Input(f.text("input", "")), Scale: f.number("scale", -1e12, 1e12, 1),
			Offset: f.number("offset", -1e12, 1e12, 0), Step: f.number("step", 0, 1e12, 0)})
		f.done()
	})
	return out
}
