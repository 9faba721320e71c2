package config

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/power/inference"
	"github.com/leastwatt/leastwatt/power/powertest"
	"github.com/leastwatt/leastwatt/scoring"
)

// modelServer is an Open Inference Protocol server over TLS that wants a client certificate and a password, and
// draws watts a percent. It writes what its clients need into dir.
func modelServer(t *testing.T, dir string) *httptest.Server {
	t.Helper()
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		u, p, _ := r.BasicAuth()
		var q struct {
			Inputs []struct {
				Data [][]float64
			}
		}
		if u != "site" || p != "pa55" || len(r.TLS.PeerCertificates) == 0 || json.NewDecoder(r.Body).Decode(&q) != nil || len(q.Inputs) != 1 || !strings.Contains(r.URL.Path, "/models/lab") {
			http.Error(w, "no", http.StatusForbidden)
			return
		}
		out := make([]float64, len(q.Inputs[0].Data))
		for i := range out {
			out[i] = 50 + q.Inputs[0].Data[i][0]
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"model_name": "lab", "outputs": []any{
			map[string]any{"name": "y", "datatype": "FP64", "shape": []int{len(out), 1}, "data": out}}})
	}))
	srv.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
	srv.StartTLS()
	t.Cleanup(srv.Close)
	key, err := x509.MarshalPKCS8PrivateKey(srv.TLS.Certificates[0].PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{
		"ca.pem":   pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw}),
		"key.pem":  pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}),
		"password": []byte("pa55\n"), "bmc-password": []byte("bmc"),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return srv
}

const asksServer = "user: site, passwordFile: password, tls: {caFile: ca.pem, certFile: ca.pem, keyFile: key.pem}, features: [{input: utilization, scale: 32}]"

// A model server may want a password and a client certificate, both from files.
func TestRemoteModelOverTLS(t *testing.T) {
	dir := t.TempDir()
	srv := modelServer(t, dir)
	c := parse(t, dir, "models: [{kind: remote, url: '"+srv.URL+"', model: lab, "+asksServer+"}]")
	table := c.Models[0].Predictor.(*inference.Table)
	full := power.State{Node: "n", Utilization: 1}
	_, _ = table.Predict(t.Context(), full)
	if err := table.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	if w, err := table.Predict(t.Context(), full); err != nil || w != 82 {
		t.Errorf("%v, %v: want 82 W", w, err)
	}
	c = parse(t, dir, "models: [{kind: remote, url: 'grpcs://127.0.0.1:1', protocol: openInferenceGRPC, timeout: 1s, model: lab, "+asksServer+"}]")
	table = c.Models[0].Predictor.(*inference.Table)
	_, _ = table.Predict(t.Context(), full)
	if err := table.Refresh(t.Context()); err == nil || !strings.Contains(err.Error(), "open inference") || strings.Contains(err.Error(), "pa55") {
		t.Errorf("a server of gRPC that is not there: %v", err)
	}
}

// Each machine's BMC names its model server. One table serves all that name the same; a BMC that names none, or a
// host that is not believed, leaves its machine unknown and gets nobody our password.
func TestDiscoveredModel(t *testing.T) {
	dir := t.TempDir()
	srv := modelServer(t, dir)
	var leaked sync.Map
	thief := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { leaked.Store(r.Header.Get("Authorization"), true) }))
	defer thief.Close()
	bmcs := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if u, p, _ := r.BasicAuth(); u != "admin" || p != "bmc" {
			http.Error(w, "no", http.StatusUnauthorized)
			return
		}
		node, path, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
		named := map[string]string{"a": srv.URL, "b": srv.URL, "evil": thief.URL}[node]
		switch {
		case path == "redfish/v1/Systems":
			fmt.Fprint(w, `{"Members":[{"@odata.id":"/redfish/v1/Systems/1"}]}`)
		case path == "redfish/v1/Systems/1":
			fmt.Fprint(w, `{"MachineLearningModel":{"@odata.id":"/redfish/v1/Systems/1/MachineLearningModel"}}`)
		case strings.HasSuffix(path, "MachineLearningModel") && named != "":
			fmt.Fprintf(w, `{"PowerConsumptionModel":{"Name":"lab","Url":%q,"Type":"V2InferenceProtocol","Version":"v1"}}`, named)
		default:
			http.NotFound(w, r)
		}
	}))
	defer bmcs.Close()
	c := parse(t, dir, "models: [{name: far, kind: remote, discover: {url: '"+bmcs.URL+"/{{.Name}}', user: admin, passwordFile: bmc-password, hosts: ['"+
		strings.TrimPrefix(srv.URL, "https://")+"']}, "+asksServer+"}]")
	l, err := newLive(c, new(SiteOptions))
	if err != nil {
		t.Fatal(err)
	}
	l.readings = &table{}
	l.site = scoring.NewSite(l, l.bind, scoring.SiteOptions{Refresh: 20 * time.Millisecond})
	for _, n := range []string{"a", "b", "evil", "none"} {
		l.site.Put(scoring.Machine{Name: n, Cores: 32})
	}
	full := power.State{Node: "a", Utilization: 1}
	s, err := l.bind(scoring.Machine{Name: "a"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Predictor.Predict(t.Context(), full); !errors.Is(err, inference.ErrNotTabulated) {
		t.Errorf("before anything was asked: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := l.site.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	late := time.After(time.Minute)
	known := func(n string) bool { x := l.site.View().Node(n); return x != nil && x.Err == nil }
	for !known("a") || !known("b") {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("a: %v; b: %v", l.site.View().Node("a").Err, l.site.View().Node("b").Err)
		}
	}
	w, err := l.site.View().Node("a").Predictor.Predict(t.Context(), full)
	if err != nil || w != 82 {
		t.Errorf("%v, %v: want 82 W", w, err)
	}
	if err := powertest.TestPredictor(s.Predictor, full, power.State{Node: "a"}); err != nil {
		t.Error(err)
	}
	d := l.asked[0].(*discovered)
	for node, want := range map[string]string{"evil": "is not among the hosts", "none": "names no power model"} {
		if _, err := d.Predict(t.Context(), power.State{Node: node}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", node, err)
		}
		if known(node) {
			t.Errorf("%s is known", node)
		}
	}
	cancel()
	wg.Wait()
	if len(d.tables) != 1 {
		t.Errorf("%d tables for one model", len(d.tables))
	}
	leaked.Range(func(auth, _ any) bool {
		t.Errorf("a host that is not believed was asked, with %q", auth)
		return true
	})
}
