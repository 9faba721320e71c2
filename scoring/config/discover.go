package config

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/leastwatt/leastwatt/internal/strictyaml"
	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/power/inference"
	"github.com/leastwatt/leastwatt/scoring"
	sensorsconfig "github.com/leastwatt/leastwatt/sensors/config"
)

// maxServers bounds how many different models BMCs can make us ask.
const maxServers = 256

// readDiscover reads a model whose server each machine's BMC names. A BMC must not choose who gets our
// credentials: where there are any, the hosts are given.
func (m *Model) readDiscover(p *place, s *remoteSection, o inference.Options, features []inference.Feature) error {
	at := &place{p.doc, strictyaml.Field(p.node, "discover"), p.path + ".discover"}
	bmc, ok := s.Discover.options(at)
	bmc.Timeout = cmp.Or(s.Discover.Timeout, defaultTimeout)
	switch {
	case s.URL != "":
		p.fail("url", "and discover exclude each other")
	case s.Model != "":
		p.fail("model", "and discover exclude each other")
	case len(s.Discover.Hosts) == 0 && (o.Auth != nil || o.TLS != nil && (len(o.TLS.Certificates) > 0 || o.TLS.GetClientCertificate != nil)):
		at.fail("hosts", "is missing: say which model servers may get the credentials, since a BMC can name any")
	case s.Protocol == "openInferenceGRPC":
		p.fail("protocol", "is for a url: BMCs name servers by http or https")
	}
	if err := sensorsconfig.CheckTemplate(s.Discover.URL); err != nil {
		at.fail("url", "%w", err)
	}
	probe, err := inference.New(none{}, features, inference.PredictorOptions{}) // to tell now what is wrong with the features
	if err == nil {
		_, err = inference.NewTable(probe, inference.TableOptions{})
	}
	if err != nil {
		p.fail("features", "%w", err)
	}
	if !ok || err != nil {
		return nil
	}
	m.remote = func(log *slog.Logger) (asked, error) {
		return &discovered{section: s, bmc: bmc, server: o, features: features, log: log, inputs: inputsOf(probe),
			tables: make(map[inference.Advertised]*inference.Table), of: make(map[string]found)}, nil
	}
	m.Predictor, err = m.remote(slog.New(slog.DiscardHandler))
	return err
}

// none is a model of nothing.
type none struct{}

// Infer implements [inference.Model].
func (none) Infer(context.Context, [][]float64) ([]float64, error) { return nil, power.ErrNoModel }

// discovered are the models that BMCs name, a table for each.
type discovered struct {
	section     *remoteSection
	bmc, server inference.Options
	features    []inference.Feature
	inputs      []power.Input
	log         *slog.Logger
	machines    func() []scoring.Machine // set before Run

	mu     sync.Mutex
	tables map[inference.Advertised]*inference.Table // guarded by mu
	of     map[string]found                          // by machine; guarded by mu
}

// found is what a machine's BMC named, or why that is not known.
type found struct {
	table *inference.Table
	err   error
}

var errNotDiscovered = errors.New("its BMC was not asked yet for the model")

func (d *discovered) table(node string) (*inference.Table, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f, ok := d.of[node]
	switch {
	case f.table != nil:
		return f.table, nil
	case ok:
		return nil, fmt.Errorf("node %q: %w: %w", node, inference.ErrNotTabulated, f.err)
	}
	return nil, fmt.Errorf("node %q: %w: %w", node, inference.ErrNotTabulated, errNotDiscovered)
}

// Predict implements [power.Predictor].
func (d *discovered) Predict(ctx context.Context, s power.State) (power.Watts, error) {
	t, err := d.table(s.Node)
	if err != nil {
		return 0, err
	}
	return t.Predict(ctx, s)
}

// Curve implements [power.Tabulator].
func (d *discovered) Curve(ctx context.Context, s power.State, points int) (*power.Piecewise, error) {
	t, err := d.table(s.Node)
	if err != nil {
		return nil, err
	}
	return t.Curve(ctx, s, points)
}

// Inputs implements [power.InputLister].
func (d *discovered) Inputs() []power.Input { return d.inputs }

func inputsOf(p *inference.Predictor) []power.Input {
	in := []power.Input{power.InputUtilization}
	for _, x := range p.Inputs() {
		if x != power.InputUtilization {
			in = append(in, x)
		}
	}
	return in
}

// Run asks each machine's BMC once an hour, and the model servers for curves, until ctx ends.
func (d *discovered) Run(life context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	e := errand{again: time.Hour, nodes: func() (names []string) {
		for _, m := range d.machines() {
			names = append(names, m.Name)
		}
		return names
	}}
	e.do = func(ctx context.Context, node string) (bool, error) {
		t, made, err := d.ask(ctx, node)
		if made {
			wg.Go(func() { _ = t.Run(life) }) // ends with life only, and logs what is wrong
		}
		if err != nil {
			d.log.Warn("no remote power model", "node", node, "err", err)
		}
		return false, err
	}
	e.gone = func(node string) {
		d.mu.Lock()
		defer d.mu.Unlock()
		delete(d.of, node)
	}
	return e.run(life)
}

// ask asks a machine's BMC for its model, and makes its table where it is the first of its kind. What a machine was
// told before stays while its BMC does not answer.
func (d *discovered) ask(ctx context.Context, node string) (t *inference.Table, made bool, err error) {
	a, err := d.advertised(ctx, node)
	d.mu.Lock()
	defer d.mu.Unlock()
	if err == nil {
		t = d.tables[a]
		if t == nil && len(d.tables) >= maxServers {
			err = fmt.Errorf("BMCs name more than %d models", maxServers)
		}
	}
	if err == nil && t == nil {
		if t, err = d.open(a); err == nil {
			d.tables[a], made = t, true
		}
	}
	if err == nil || d.of[node].table == nil {
		d.of[node] = found{t, err}
	}
	return t, made, err
}

// advertised returns what a machine's BMC says, once it is known to be meant for us.
func (d *discovered) advertised(ctx context.Context, node string) (inference.Advertised, error) {
	i := slices.IndexFunc(d.machines(), func(m scoring.Machine) bool { return m.Name == node })
	if i < 0 {
		return inference.Advertised{}, fmt.Errorf("node %q: %w", node, power.ErrNoModel)
	}
	m := d.machines()[i]
	at, err := sensorsconfig.Expand(d.section.Discover.URL, sensorsconfig.Node{Name: m.Name, Address: m.Address, Labels: m.Labels, Cores: m.Cores})
	if err != nil {
		return inference.Advertised{}, err
	}
	a, err := inference.Discover(ctx, at, d.section.Discover.System, d.bmc)
	if err != nil {
		return a, err
	}
	u, err := url.Parse(a.URL)
	if err != nil {
		return a, errors.New("its BMC names a model server that is no URL")
	}
	if hosts := d.section.Discover.Hosts; len(hosts) > 0 && !slices.Contains(hosts, u.Host) {
		return a, fmt.Errorf("its BMC names a model on %s, which is not among the hosts that are believed", u.Host)
	}
	return a, nil
}

func (d *discovered) open(a inference.Advertised) (*inference.Table, error) {
	protocol := d.section.Protocol
	if protocol == "" {
		switch strings.ToLower(a.Type) {
		case "", "v2inferenceprotocol", "openinference":
			protocol = "openInference"
		default:
			return nil, fmt.Errorf("its BMC names a model server of type %q: say which protocol that is", a.Type)
		}
	}
	remote, err := newRemote(protocol, a.URL, a.Name, cmp.Or(d.section.Version, a.Version), d.server)
	if err != nil {
		return nil, err
	}
	p, err := inference.New(remote, d.features, inference.PredictorOptions{})
	if err != nil {
		return nil, err
	}
	return inference.NewTable(p, inference.TableOptions{Logger: d.log})
}
