package config

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/power/inference"
	"github.com/leastwatt/leastwatt/power/powertest"
	"github.com/leastwatt/leastwatt/scoring"
)

// A site's machine gets the curve of a model server; the server sees the features and the token.
func TestRemoteModel(t *testing.T) {
	asked := make(chan struct{})
	first := sync.OnceFunc(func() { close(asked) })
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var q struct{ Instances [][]float64 }
		if r.Header.Get("Authorization") != "Bearer secret" || r.URL.Path != "/v1/models/lab:predict" || json.NewDecoder(r.Body).Decode(&q) != nil {
			http.Error(w, "no", http.StatusForbidden)
			return
		}
		first()
		out := make([]float64, len(q.Instances))
		for i, row := range q.Instances {
			out[i] = 50 + row[0]
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"predictions": out})
	}))
	defer srv.Close()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "token"), []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := parse(t, dir, "models: [{name: far, kind: remote, protocol: tensorflowInstances, url: '"+srv.URL+"', model: lab, tokenFile: token, features: [{input: utilization, scale: 32}]}]")
	l, err := newLive(c, new(SiteOptions))
	if err != nil {
		t.Fatal(err)
	}
	s, err := l.bind(scoring.Machine{Name: "n", Cores: 32})
	if err != nil {
		t.Fatal(err)
	}
	full := power.State{Node: "n", Utilization: 1}
	if _, err := s.Predictor.Predict(t.Context(), full); err == nil {
		t.Error("a curve was there before the server was asked")
	}
	// A running site asks by itself.
	l.readings = &table{}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := l.Run(ctx); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	<-asked
	cancel()
	wg.Wait()
	if err := l.asked[0].(*inference.Table).Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	w, err := s.Predictor.Predict(t.Context(), full)
	if err != nil {
		t.Fatal(err)
	}
	if w != 82 {
		t.Errorf("%v, want 82 W", w)
	}
	if err := powertest.TestPredictor(s.Predictor, full, power.State{Node: "n"}); err != nil {
		t.Error(err)
	}
}

func TestRemoteModelErrors(t *testing.T) {
	const whole = "url: 'http://m', model: a, features: [{input: utilization}]"
	for _, c := range []struct{ fields, want string }{
		{"model: a, features: [{input: utilization}]", "models[0].url: is missing"},
		{"url: 'http://m', features: [{input: utilization}]", "models[0].model: is missing"},
		{"url: 'http://m', model: a", "models[0].features: is missing"},
		{"url: 'http://m', model: a, features: [{scale: 2}]", "models[0].features[0].input: is missing"},
		{"url: 'http://m', model: a, features: [{input: utilization, scael: 2}]", "models[0].features[0].scael: there is no such field"},
		{whole + ", protocol: gopher", `models[0].protocol: is "gopher"`},
		{whole + ", timeout: 3", "models[0].timeout"},
		{whole + ", inlet: published", "models[0].inlet: is not for a remote model"},
		{whole + ", tokenFile: t, user: u, passwordFile: p", "models[0].tokenFile: excludes user"},
		{whole + ", user: u", "models[0].user: and passwordFile need each other"},
		{whole + ", tls: {caFile: /nowhere/ca.pem}", "models[0].tls: "},
		{whole + ", discover: {url: 'https://{{.Name}}'}", "models[0].url: and discover exclude"},
		{whole + ", protocol: openInferenceGRPC", "models[0]: open inference"},
		{"features: [{input: utilization}], discover: {url: 'https://{{.Nmae}}'}, tokenFile: t", "models[0].discover.hosts: is missing"},
		{"features: [{input: utilization}], discover: {url: 'https://{{'}", "models[0].discover.url: template"},
		{"features: [{input: utilization}], discover: {user: a}", "models[0].discover.url: is missing"},
		{"features: [{input: utilization}], discover: {url: 'https://b'}, protocol: openInferenceGRPC", "models[0].protocol: is for a url"},
		{"url: ':', model: a, features: [{input: utilization}]", "models[0]: "},
	} {
		if _, err := Parse("site.yaml", []byte("models: [{kind: remote, "+c.fields+"}]")); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error is %v: want one with %q", c.fields, err, c.want)
		}
	}
}
