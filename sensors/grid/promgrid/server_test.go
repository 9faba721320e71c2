package promgrid_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/leastwatt/leastwatt/sensors/grid"
	"github.com/leastwatt/leastwatt/sensors/grid/promgrid"
	"github.com/leastwatt/leastwatt/sensors/prometheus"
)

// TestRealServer has Prometheus scrape what grid-intensity-go exports, and asks it.
func TestRealServer(t *testing.T) {
	program, err := exec.LookPath("prometheus")
	if err != nil {
		t.Skip("prometheus is not installed: apt-get install prometheus")
	}
	if testing.Short() {
		t.Skip("takes some seconds")
	}
	exporter := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "# TYPE grid_intensity_carbon_average gauge\n"+
			`grid_intensity_carbon_average{is_estimated="true",location="GBR",node="",provider="Ember",region="",units="gCO2e per kWh"} 234.5`+"\n"+
			"# TYPE grid_intensity_carbon_marginal gauge\n"+
			`grid_intensity_carbon_marginal{is_estimated="false",location="CAISO_NORTH",node="",provider="WattTime",region="",units="lbCO2e per MWh"} 1000`+"\n")
	}))
	defer exporter.Close()
	dir := t.TempDir()
	config := filepath.Join(dir, "prometheus.yml")
	text := fmt.Sprintf("global: {scrape_interval: 1s}\nscrape_configs: [{job_name: grid, static_configs: [{targets: [%q]}]}]\n", strings.TrimPrefix(exporter.URL, "http://"))
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	c := exec.CommandContext(t.Context(), program, "--config.file="+config, "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+address)
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = c.Process.Kill()
		_ = c.Wait()
	}()
	open := func(q promgrid.Query) *promgrid.Source {
		s, err := promgrid.New(prometheus.Endpoint{URL: "http://" + address}, q, promgrid.Options{Step: time.Second})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	average, marginal := open(promgrid.GridIntensity(grid.AverageLifeCycle, "")), open(promgrid.GridIntensity(grid.MarginalDirect, "WattTime"))
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(60 * time.Second); ; <-tick.C {
		p, err := average.Current(t.Context(), "GBR")
		if err == nil {
			if p.Value != 234.5 || !p.Estimated || p.Source != "prometheus:Ember" || time.Since(p.Start) > time.Minute {
				t.Errorf("point is %+v", p)
			}
			break
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	if p, err := marginal.Current(t.Context(), "CAISO_NORTH"); err != nil || p.Value != 453.59237 {
		t.Errorf("marginal is %+v, error %v", p, err)
	}
	if _, err := average.Current(t.Context(), "CAISO_NORTH"); !errors.Is(err, grid.ErrUnknownZone) {
		t.Errorf("error is %v, want ErrUnknownZone", err)
	}
	for deadline := time.Now().Add(30 * time.Second); ; <-tick.C { // until a full second follows the first scrape
		ps, err := average.History(t.Context(), "GBR", time.Now().Add(-time.Minute), time.Now())
		if err == nil && len(ps) > 0 && ps[0].Value == 234.5 {
			break
		}
		if !errors.Is(err, grid.ErrUnknown) || time.Now().After(deadline) {
			t.Fatalf("history is %+v, error %v", ps, err)
		}
	}
	byHand := open(promgrid.Query{Signal: grid.AverageLifeCycle, Expr: "avg by (location) (grid_intensity_carbon_average)", Time: "timestamp(grid_intensity_carbon_average)"})
	if p, err := byHand.Current(t.Context(), "GBR"); err != nil || p.Value != 234.5 {
		t.Errorf("by a query of one's own: %+v, error %v", p, err)
	}
}
