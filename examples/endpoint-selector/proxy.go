package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	v1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes/scheme"
	restclient "k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/knftables"

	"github.com/leastwatt/leastwatt/balancing"
	"github.com/leastwatt/leastwatt/balancing/nftables"
	"github.com/leastwatt/leastwatt/k8s/endpoints"
	"github.com/leastwatt/leastwatt/k8s/metricsserver"
	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/scoring"
	"github.com/leastwatt/leastwatt/scoring/config"
	sensorsconfig "github.com/leastwatt/leastwatt/sensors/config"
)

// proxyFlags are what the service proxy is told on the command line.
type proxyFlags struct {
	kubeconfig, name, node, config, metrics, localCIDRs string
	namespace, lease                                    string
	refresh                                             time.Duration
	print, gateway                                      bool
	rates                                               rateFlags
	objective                                           objectiveFlags
}

// weigher returns what divides.
func (f *proxyFlags) weigher(perWatt func(*scoring.Node) (float64, error)) balancing.Weigher {
	d := balancing.NewDamped(&balancing.Optimal{PerWatt: perWatt}, 0)
	d.Every = f.refresh * 9 / 10 // a tick may come early
	return d
}

var families = map[v1.IPFamily]knftables.Family{v1.IPv4Protocol: knftables.IPv4Family, v1.IPv6Protocol: knftables.IPv6Family}

// rules are the options of the rules.
func (f *proxyFlags) rules() (nftables.Options, error) {
	o := nftables.Options{Table: tableOf(f.name), Count: true}
	for _, text := range strings.FieldsFunc(f.localCIDRs, func(r rune) bool { return r == ',' }) {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return o, fmt.Errorf("-cluster-cidr %q: %w", text, err)
		}
		o.LocalCIDRs = append(o.LocalCIDRs, p)
	}
	return o, nil
}

// tableOf returns the name of the table for the Services of a proxy's name, so that proxies of several names can share a
// node: the name itself where it is the default. What no name of a table may hold is written in hexadecimal digits.
func tableOf(name string) string {
	if name == "" || name == endpoints.DefaultName {
		return endpoints.DefaultName
	}
	var b strings.Builder
	for _, c := range []byte(endpoints.DefaultName + "." + name) {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "_%02x", c)
		}
	}
	return b.String()
}

// cleanup removes every trace of the rules of a proxy's name. A family that cannot be opened has none, if another one can.
func cleanup(ctx context.Context, name string, open func(knftables.Family, nftables.Options) (*nftables.Writer, error)) error {
	var closed, errs []error
	for _, f := range families {
		w, err := open(f, nftables.Options{Table: tableOf(name)})
		if err != nil {
			closed = append(closed, err)
			continue
		}
		errs = append(errs, w.Cleanup(ctx))
	}
	if len(closed) == len(families) {
		errs = closed
	}
	return errors.Join(errs...)
}

// A printer writes rules instead of applying them, once for each family, and then calls done.
type printer struct {
	family knftables.Family
	rules  nftables.Options
	out    io.Writer
	done   func()
}

// Apply implements endpoints.Applier.
func (p *printer) Apply(_ context.Context, services []nftables.Service) (nftables.Result, error) {
	text, refused, err := nftables.Script(p.family, p.rules, services)
	if err == nil {
		_, err = io.WriteString(p.out, text)
	}
	p.done()
	return nftables.Result{Refused: refused}, err
}

// proxy runs the service proxy until ctx ends, or with -gateway what writes the weights of routes. Rules and weights
// stay, so that traffic goes on over a restart.
func proxy(ctx context.Context, f proxyFlags, out io.Writer, log *slog.Logger) error {
	rest, err := clientcmd.BuildConfigFromFlags("", f.kubeconfig)
	if err != nil {
		return fmt.Errorf("reach the cluster: %w", err)
	}
	rest.QPS, rest.Burst = 50, 100
	client, err := newCluster(rest)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), collectors.NewGoCollector())
	zones := new(zones)
	view := func() *scoring.View { return nil }
	var c *config.Config
	if f.config != "" {
		if c, err = config.Load(f.config); err != nil {
			return err
		}
	}
	perWatt, err := f.objective.perWatt(zones, c)
	if err != nil {
		return err
	}
	if c != nil {
		site, err := c.NewSite(config.SiteOptions{Logger: log, Registerer: registry, Types: []sensorsconfig.Type{
			metricsserver.Type(func() (*restclient.Config, error) { return rest, nil })}})
		if err != nil {
			return err
		}
		view = site.View
		wg.Go(func() { _ = site.Run(ctx) })
		wg.Go(func() { _ = endpoints.WatchNodes(ctx, client, zones.beside(site)) })
	} else {
		log.Warn("no -config: no server has a model, so every Service is divided evenly")
	}
	if f.gateway {
		if f.metrics != "" {
			stop, err := serveHTTP(f.metrics, registry, nil, func() error { return nil })
			if err != nil {
				return err
			}
			defer stop()
		}
		return gateway(ctx, f, f.weigher(perWatt), rest, client, view, registry, log)
	}
	return rules(ctx, f, f.weigher(perWatt), client, view, registry, out, log)
}

// appliers returns what writes each family's rules, or prints them and then calls done.
func (f *proxyFlags) appliers(out io.Writer, done func(), log *slog.Logger) (map[v1.IPFamily]endpoints.Applier, error) {
	rules, err := f.rules()
	if err != nil {
		return nil, err
	}
	appliers := make(map[v1.IPFamily]endpoints.Applier)
	left := len(families)
	for name, family := range families {
		if f.print {
			appliers[name] = &printer{family: family, rules: rules, out: out, done: func() {
				if left--; left == 0 {
					done()
				}
			}}
			continue
		}
		w, err := nftables.Open(family, rules)
		if err != nil {
			log.Warn("a family has no rules", "family", name, "err", err)
			continue
		}
		appliers[name] = w
	}
	if len(appliers) == 0 {
		return nil, errors.New("no rules can be written: see the warnings above")
	}
	return appliers, nil
}

// connectionsOf returns what reads the kernel's counters of all families.
func connectionsOf(appliers map[v1.IPFamily]endpoints.Applier) func(context.Context) ([]nftables.Flow, error) {
	return func(ctx context.Context) ([]nftables.Flow, error) {
		var all []nftables.Flow
		for _, a := range appliers {
			if w, ok := a.(*nftables.Writer); ok {
				flows, err := w.Connections(ctx)
				if err != nil {
					return nil, err
				}
				all = append(all, flows...)
			}
		}
		return all, nil
	}
}

// rules keeps the rules of this node until ctx ends.
func rules(ctx context.Context, f proxyFlags, weigher balancing.Weigher, client *cluster, view func() *scoring.View, registry *prometheus.Registry, out io.Writer, log *slog.Logger) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	appliers, err := f.appliers(out, cancel, log)
	if err != nil {
		return err
	}
	var learner endpoints.Learner
	o := endpoints.Options{Name: f.name, Node: f.node, View: view, Weigher: weigher, Refresh: f.refresh, Registerer: registry, Streamed: true, Log: log, Rate: learner.Rate, CPU: learner.CPU}
	if !f.print {
		broadcaster := events.NewBroadcaster(&events.EventSinkImpl{Interface: client.events})
		defer broadcaster.Shutdown()
		if err := broadcaster.StartRecordingToSinkWithContext(ctx); err != nil {
			return fmt.Errorf("record events: %w", err)
		}
		o.Events = broadcaster.NewRecorder(scheme.Scheme, "leastwatt-endpoint-selector")
		o.Forget = forget(log)
		o.Listen = net.Listen
	}
	p, err := endpoints.New(appliers, o)
	if err != nil {
		return err
	}
	flows := connectionsOf(appliers)
	meter, err := newMeter(f.rates, flows, p, view, &learner, log)
	if err != nil {
		return err
	}
	if !f.print {
		registry.MustRegister(&learner, connections{flows, log})
	}
	if f.metrics != "" {
		stop, err := serveHTTP(f.metrics, registry, p.WriteSeries, p.Ready)
		if err != nil {
			return err
		}
		defer stop()
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	if meter != nil && !f.print {
		wg.Go(func() { meter.run(ctx) })
	}
	wg.Go(func() { settle(ctx, p.Ready, cmp.Or(max(f.refresh, 0), 15*time.Second), log) })
	watch := make(chan error, 1)
	wg.Go(func() {
		err := p.Watch(ctx, client)
		cancel()
		watch <- err
	})
	switch {
	case f.config == "":
	case f.print:
		if unknown, all := measured(ctx, view, 30*time.Second, func(unknown, _ int) bool { return unknown == 0 }); unknown > 0 {
			log.Warn("rules are printed although not every server with a model is known", "servers", all, "unknown", unknown)
		}
	default:
		wg.Go(func() { // the first rules are written before any server is known
			measured(ctx, view, time.Minute, func(unknown, all int) bool { return 2*unknown <= all })
			p.Sync()
		})
	}
	err = p.Run(ctx)
	if w := <-watch; w != nil && !errors.Is(w, context.Canceled) {
		return w
	}
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// measured waits until enough is known of the servers that have a model, but not longer than patience, and returns how many
// of all are not known.
func measured(ctx context.Context, view func() *scoring.View, patience time.Duration, enough func(unknown, all int) bool) (unknown, all int) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		unknown, all = 0, 0
		if v := view(); v != nil {
			for n := range v.All {
				all++
				if n.Err != nil && !errors.Is(n.Err, power.ErrNoModel) {
					unknown++
				}
			}
		}
		if all > 0 && enough(unknown, all) {
			return unknown, all
		}
		select {
		case <-ctx.Done():
			return unknown, all
		case <-tick.C:
		}
	}
}

// forget returns what lets UDP clients of endpoints that are gone find others, where there is a conntrack program.
func forget(log *slog.Logger) func(context.Context, []endpoints.Stale) error {
	if _, err := exec.LookPath("conntrack"); err != nil {
		log.Warn("no conntrack program: UDP clients may stay with endpoints that are gone until their entries expire")
		return nil
	}
	return func(ctx context.Context, stale []endpoints.Stale) error {
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		return endpoints.Conntrack(ctx, stale)
	}
}

func hostname() string {
	if n := os.Getenv("NODE_NAME"); n != "" {
		return n
	}
	n, err := os.Hostname()
	if err != nil {
		return ""
	}
	return n
}
