package config

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/leastwatt/leastwatt/sensors"
	"github.com/leastwatt/leastwatt/sensors/prometheus"
)

// queries is what a Prometheus server is asked, of all nodes at once.
type queries struct {
	Ready      []string          `yaml:"ready" doc:"queries that are ready made for exporters: node-exporter, ipmi-exporter, kepler, kepler-legacy, scaphandre, dcgm"`
	Queries    []query           `yaml:"queries" doc:"further queries; one for a kind that a ready one has replaces it"`
	PDU        *pdu              `yaml:"pdu" doc:"outlets of rack PDUs, as snmp_exporter shows them"`
	Label      string            `yaml:"label" doc:"the label that names the node, where a query does not say (node)"`
	LabelNames map[string]string `yaml:"labelNames" doc:"the nodes of label values, where they differ"`
	Window     time.Duration     `yaml:"window" doc:"what $window stands for in queries, the range of rate() (2m)"`
}

type query struct {
	Kind  string `yaml:"kind" required:"true"`
	Expr  string `yaml:"expr" required:"true" doc:"PromQL with one series per node; $label and $window are replaced"`
	Time  string `yaml:"time" doc:"PromQL for when that was measured (timestamp of expr)"`
	Label string `yaml:"label" doc:"the label that names the node"`
}

type pdu struct {
	Selector     string  `yaml:"selector" required:"true" doc:"the metric of an outlet's power"`
	WattsPerUnit float64 `yaml:"wattsPerUnit" required:"true"`
}

func (q *queries) given() bool {
	return len(q.Ready) > 0 || len(q.Queries) > 0 || q.PDU != nil || q.Label != "" || len(q.LabelNames) > 0 || q.Window != 0
}

func (b *builder) prometheus(at string, s *single) (sensors.SensorSource, error) {
	r := resolved{endpoint: s.endpoint}
	if err := b.resolve(&r, Node{}); err != nil {
		return nil, b.errorf(at, "%w", err)
	}
	all, err := s.ask()
	if err != nil {
		return nil, b.errorf(at, "%w", err)
	}
	src, err := prometheus.New(prometheus.Endpoint{URL: r.URL, User: r.User, PasswordFrom: r.password, TokenFrom: r.token, TLS: r.tls},
		all, prometheus.Options{Label: s.Label, Names: s.LabelNames, Window: s.Window, Timeout: s.Timeout})
	if err != nil {
		return nil, b.errorf(at, "%w", err)
	}
	return src, nil
}

// ask returns the queries that a section asks for.
func (q *queries) ask() ([]prometheus.Query, error) {
	var all []prometheus.Query
	add := func(more ...prometheus.Query) {
		for _, x := range more {
			all = slices.DeleteFunc(all, func(old prometheus.Query) bool { return old.Kind == x.Kind })
			all = append(all, x)
		}
	}
	for _, name := range q.Ready {
		switch name {
		case "node-exporter":
			add(prometheus.NodeExporter()...)
		case "ipmi-exporter":
			add(prometheus.IPMIExporter()...)
		case "kepler":
			add(prometheus.Kepler()...)
		case "kepler-legacy":
			add(prometheus.KeplerLegacy()...)
		case "scaphandre":
			add(prometheus.Scaphandre()...)
		case "dcgm":
			add(prometheus.DCGM()...)
		default:
			return nil, fmt.Errorf("ready: there are no queries for %q; there are for node-exporter, ipmi-exporter, kepler, kepler-legacy, scaphandre, dcgm", name)
		}
	}
	if q.PDU != nil {
		add(prometheus.PDU(q.PDU.Selector, q.PDU.WattsPerUnit)...)
	}
	for _, x := range q.Queries {
		if !known(x.Kind) {
			return nil, fmt.Errorf("queries: there is no kind %q", x.Kind)
		}
		add(prometheus.Query{Kind: sensors.Kind(x.Kind), Expr: x.Expr, Time: x.Time, Label: x.Label})
	}
	return all, nil
}

// some is a batch source of the nodes that a source reads, and of no others.
type some struct {
	sensors.BatchSource
	reads func(node string) bool
}

// String names the source.
func (s some) String() string { return sensors.Name(s.BatchSource) }

// Unwrap implements [sensors.Wrapper].
func (s some) Unwrap() []sensors.SensorSource { return []sensors.SensorSource{s.BatchSource} }

// Read implements [sensors.SensorSource].
func (s some) Read(ctx context.Context, node string) ([]sensors.Reading, error) {
	if !s.reads(node) {
		return nil, &sensors.Error{Source: s.String(), Node: node, Err: sensors.ErrUnknownNode}
	}
	return s.BatchSource.Read(ctx, node)
}

// ReadAll implements [sensors.BatchSource].
func (s some) ReadAll(ctx context.Context, nodes []string) (map[string][]sensors.Reading, map[string]error) {
	var mine, others []string
	for _, n := range nodes {
		if s.reads(n) {
			mine = append(mine, n)
		} else {
			others = append(others, n)
		}
	}
	readings, errs := sensors.ReadAll(ctx, s.BatchSource, mine)
	for _, n := range others {
		errs[n] = &sensors.Error{Source: s.String(), Node: n, Err: sensors.ErrUnknownNode}
	}
	return readings, errs
}
