package chart_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"go.yaml.in/yaml/v3"
	v1 "k8s.io/api/core/v1"

	"github.com/leastwatt/leastwatt/k8s/endpoints"
	"github.com/leastwatt/leastwatt/k8s/metrics"
	"github.com/leastwatt/leastwatt/k8s/profiles"
	"github.com/leastwatt/leastwatt/k8s/scheduler"
	"github.com/leastwatt/leastwatt/k8s/shift"
	"github.com/leastwatt/leastwatt/scoring/config"
)

// recorder is a registry that remembers what was registered: a vector without children gathers to nothing, but
// describes itself.
type recorder struct {
	*prometheus.Registry
	collectors []prometheus.Collector
}

func (r *recorder) Register(c prometheus.Collector) error {
	r.collectors = append(r.collectors, c)
	return r.Registry.Register(c)
}

// exported are the labels of each metric that a program registers, by name; histograms by their series.
func exported(t *testing.T) map[string][]string {
	t.Helper()
	r := &recorder{Registry: prometheus.NewRegistry()}
	c, err := config.Parse("site.yaml", []byte("sensors: {sources: [{type: redfish, url: 'https://bmc.example'}]}\nmodels: [{kind: prior}]\n"))
	if err != nil {
		t.Fatal(err)
	}
	site, err := c.NewSite(config.SiteOptions{Registerer: r})
	if err != nil {
		t.Fatal(err)
	}
	open := func(string) (scheduler.Setup, error) { return scheduler.Setup{Site: site, Scorer: c.NewScorer()}, nil }
	if _, err := scheduler.New(open, scheduler.Options{Registerer: r}); err != nil {
		t.Fatal(err)
	}
	if _, err := endpoints.New(map[v1.IPFamily]endpoints.Applier{v1.IPv4Protocol: nil}, endpoints.Options{Registerer: r}); err != nil {
		t.Fatal(err)
	}
	if err := r.Register(metrics.NewCollector(metrics.New(site, metrics.Options{}))); err != nil {
		t.Fatal(err)
	}
	if _, err := shift.New(nil, nil, shift.Options{Registerer: r}); err != nil {
		t.Fatal(err)
	}
	alone := &recorder{Registry: prometheus.NewRegistry()} // it has a site of its own
	if _, err := profiles.New(profiles.Options{Registerer: alone}); err != nil {
		t.Fatal(err)
	}
	r.collectors = append(r.collectors, alone.collectors...)
	histograms := make(map[string]bool)
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		histograms[f.GetName()] = f.GetType() == dto.MetricType_HISTOGRAM
	}
	all := listed(t)
	parts := regexp.MustCompile(`^Desc\{fqName: "([^"]+)".*, constLabels: \{([^}]*)\}, variableLabels: \{([^}]*)\}\}$`)
	for _, c := range r.collectors {
		_, vector := c.(*prometheus.HistogramVec)
		ch := make(chan *prometheus.Desc, 100)
		c.Describe(ch)
		close(ch)
		for d := range ch {
			m := parts.FindStringSubmatch(d.String())
			if m == nil {
				t.Fatalf("cannot read %s", d)
			}
			labels := []string{"job", "instance"}
			for l := range strings.SplitSeq(m[2]+","+m[3], ",") {
				name, _, _ := strings.Cut(l, "=")
				labels = append(labels, name)
			}
			if vector || histograms[m[1]] {
				for _, s := range []string{"_sum", "_count"} {
					all[m[1]+s] = labels
				}
				all[m[1]+"_bucket"] = append(labels, "le")
				continue
			}
			all[m[1]] = labels
		}
	}
	if len(all) < 30 {
		t.Fatalf("%d metrics are exported: the collection is broken", len(all))
	}
	return all
}

// listed are the metrics of programs that cannot be made here, whose own tests hold the files true: of the job service (TestMetricsFile of
// examples/jobs) and of the controller (TestMetricsFile of k8s/controllers).
func listed(t *testing.T) map[string][]string {
	t.Helper()
	all := make(map[string][]string)
	for _, name := range []string{"jobs_metrics.txt", "controller_metrics.txt"} {
		text, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			f := strings.Fields(line)
			all[f[0]] = append([]string{"job", "instance"}, f[1:]...)
		}
	}
	return all
}

type rule struct{ Record, Alert, Expr string }

func rules(t *testing.T) []rule {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("files", "rules.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ Groups []struct{ Rules []rule } }
	if err := yaml.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	var all []rule
	for _, g := range file.Groups {
		all = append(all, g.Rules...)
	}
	return all
}

// queries are those of the dashboard's panels and variables, by where they stand.
func queries(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("files", "dashboard.json"))
	if err != nil {
		t.Fatal(err)
	}
	var d struct {
		Panels []struct {
			Title, Type string
			Targets     []struct{ Expr string }
		}
		Templating struct {
			List []struct{ Name, Type, Query string }
		}
	}
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	all := make(map[string]string)
	for _, p := range d.Panels {
		if p.Type != "row" && len(p.Targets) == 0 {
			t.Errorf("panel %q asks nothing", p.Title)
		}
		for i, q := range p.Targets {
			if literal.MatchString(q.Expr) {
				t.Errorf("panel %q: %s: want $__rate_interval or $__range, since a range below the interval of scrapes shows nothing", p.Title, q.Expr)
			}
			all[fmt.Sprintf("panel %q, query %d", p.Title, i)] = strings.NewReplacer("$node", ".*", "$__range", "6h", "$__rate_interval", "5m").Replace(q.Expr)
		}
	}
	for _, v := range d.Templating.List {
		if q, ok := strings.CutPrefix(v.Query, "label_values("); ok && v.Type == "query" {
			metric, label, _ := strings.Cut(strings.TrimSuffix(q, ")"), ", ")
			all["variable "+v.Name] = fmt.Sprintf("count by (%s) (%s)", label, metric)
		}
	}
	return all
}

var (
	literal    = regexp.MustCompile(`\[[0-9]+[sm]\]`) // a range of seconds or minutes
	metricName = regexp.MustCompile(`leastwatt[_:][a-z0-9_:]*`)
	matchers   = regexp.MustCompile(`(leastwatt[_:][a-z0-9_:]*)\{([^}]*)\}`)
	grouping   = regexp.MustCompile(`by \(([^)]*)\)`)
)

// check tells what a query asks for that nobody exports.
func check(query string, known map[string][]string) (problems []string) {
	names := metricName.FindAllString(query, -1)
	if len(names) == 0 {
		return []string{"it names no metric of ours"}
	}
	var labels []string
	for _, n := range names {
		l, ok := known[n]
		if !ok {
			problems = append(problems, "nobody exports "+n)
		}
		labels = append(labels, l...)
	}
	if len(problems) > 0 {
		return problems
	}
	for _, m := range matchers.FindAllStringSubmatch(query, -1) {
		for l := range strings.SplitSeq(m[2], ",") {
			if l = strings.TrimSpace(l[:strings.IndexAny(l, "=!")]); !slices.Contains(known[m[1]], l) {
				problems = append(problems, fmt.Sprintf("%s has no label %s", m[1], l))
			}
		}
	}
	for _, m := range grouping.FindAllStringSubmatch(query, -1) {
		for l := range strings.SplitSeq(m[1], ", ") {
			if !slices.Contains(labels, l) {
				problems = append(problems, "no metric of it has the label "+l)
			}
		}
	}
	return problems
}

// recorded adds what the rules record, with the labels of what they are made of.
func recorded(t *testing.T, known map[string][]string) {
	t.Helper()
	for _, r := range rules(t) {
		if r.Record == "" {
			continue
		}
		var labels []string
		if m := grouping.FindStringSubmatch(r.Expr); m != nil && !strings.HasPrefix(r.Expr, "sum(max") {
			labels = strings.Split(m[1], ", ")
		}
		known[r.Record] = labels
	}
}

// Every query of the rules and the dashboard names metrics and labels that the programs export.
func TestQueriesAskForWhatIsExported(t *testing.T) {
	known := exported(t)
	recorded(t, known)
	for _, r := range rules(t) {
		for _, p := range check(r.Expr, known) {
			t.Errorf("rule %s%s: %s", r.Record, r.Alert, p)
		}
	}
	all := queries(t)
	for where, q := range all {
		for _, p := range check(q, known) {
			t.Errorf("%s: %s", where, p)
		}
	}
	if len(all) < 52 {
		t.Errorf("%d queries: the dashboard is not read whole", len(all))
	}
}

// The check itself must refuse.
func TestCheckRefuses(t *testing.T) {
	known := exported(t)
	for _, q := range []string{"up", "leastwatt_watts", "leastwatt_nodes_bucket", `leastwatt_nodes{node="a"}`, "sum by (node) (leastwatt_nodes)", "rate(leastwatt_prescore_duration_seconds[5m])"} {
		if len(check(q, known)) == 0 {
			t.Errorf("%q passes", q)
		}
	}
}

// promtool is Prometheus' own parser of queries and rules.
func promtool(t *testing.T) string {
	t.Helper()
	p, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("no promtool: install Debian's prometheus")
	}
	return p
}

func TestRulesParseAndFire(t *testing.T) {
	tool := promtool(t)
	for _, args := range [][]string{{"check", "rules", "files/rules.yaml"}, {"test", "rules", "testdata/rules_test.yaml"}} {
		if out, err := exec.CommandContext(t.Context(), tool, args...).CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
}

// Each query of the dashboard parses: promtool reads them as rules.
func TestDashboardParses(t *testing.T) {
	tool := promtool(t)
	type recording struct{ Record, Expr string }
	var list []recording
	for where, q := range queries(t) {
		list = append(list, recording{fmt.Sprintf("q:%d", len(list)), q + " # " + where})
	}
	text, err := yaml.Marshal(map[string]any{"groups": []any{map[string]any{"name": "dashboard", "rules": list}}})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "dashboard.yaml")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), tool, "check", "rules", "--lint=none", file).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// Each alert is seen firing by promtool's tests, from series that the programs export, with all their labels and no others.
func TestEveryAlertFires(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("testdata", "rules_test.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Tests []struct {
			Series []struct{ Series string } `yaml:"input_series"`
			Alerts []struct {
				Alert string `yaml:"alertname"`
				Fires []any  `yaml:"exp_alerts"`
			} `yaml:"alert_rule_test"`
		}
	}
	if err := yaml.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	known := exported(t)
	fires, quiet := make(map[string]bool), make(map[string]bool)
	series := regexp.MustCompile(`^([a-z0-9_]+)(?:\{(.*)\})?$`)
	label := regexp.MustCompile(`([a-z_]+)="`)
	for _, test := range file.Tests {
		for _, s := range test.Series {
			m := series.FindStringSubmatch(s.Series)
			if m == nil || known[m[1]] == nil {
				t.Errorf("nobody exports %s", s.Series)
				continue
			}
			var has []string
			for _, l := range label.FindAllStringSubmatch(m[2], -1) {
				has = append(has, l[1])
			}
			for _, l := range has {
				if !slices.Contains(known[m[1]], l) {
					t.Errorf("%s: it has no label %s", s.Series, l)
				}
			}
			for _, l := range known[m[1]] {
				if l != "" && !slices.Contains([]string{"job", "instance"}, l) && !slices.Contains(has, l) {
					t.Errorf("%s: it has the label %s too", s.Series, l)
				}
			}
		}
		for _, a := range test.Alerts {
			if len(a.Fires) > 0 {
				fires[a.Alert] = true
			} else {
				quiet[a.Alert] = true
			}
		}
	}
	for _, r := range rules(t) {
		if r.Alert != "" && (!fires[r.Alert] || !quiet[r.Alert]) {
			t.Errorf("%s: it is tested that it fires: %t, and that it does not: %t", r.Alert, fires[r.Alert], quiet[r.Alert])
		}
	}
}

// What several replicas, or the proxies of all nodes, tell of the same thing is counted once.
func TestDashboardCountsReplicasOnce(t *testing.T) {
	tool := promtool(t)
	type sample struct {
		Labels string
		Value  float64
	}
	type expression struct {
		Expr    string   `yaml:"expr"`
		At      string   `yaml:"eval_time"`
		Samples []sample `yaml:"exp_samples"`
	}
	type series struct{ Series, Values string }
	all := queries(t)
	var input []series
	var asks []expression
	for _, x := range []struct {
		panel  string
		series []string // with their values, told by two instances alike
		want   []sample
	}{
		{"Nodes known", []string{`leastwatt_nodes{state="known"} 7`, `leastwatt_nodes{state="stale"} 2`}, []sample{{"{}", 7}}},
		{"Nodes by state", nil, []sample{{`{state="known"}`, 7}, {`{state="stale"}`, 2}}},
		{"Power by namespace", []string{`leastwatt_namespace_cpu_power_watts{namespace="a"} 80`}, []sample{{`{namespace="a"}`, 80}}},
		{"Power by node", []string{`leastwatt_node_power_watts{node="n",source="redfish"} 200`, `leastwatt_node_power_watts{node="m",source="redfish"} 100`}, []sample{{`{node="n"}`, 200}, {`{node="m"}`, 100}}},
		{"Watts that one more core adds", []string{`leastwatt_node_marginal_power_watts{node="n",source="model"} 5`}, []sample{{`{node="n"}`, 5}}},
		{"Inlet temperature", []string{`leastwatt_node_inlet_temp_celsius{node="n",source="redfish"} 24`}, []sample{{`{node="n"}`, 24}}},
		{"Reads that fail in a row", []string{`leastwatt_sensor_node_failures{node="n"} 3`, `leastwatt_sensor_node_failures{node="m"} 0`}, []sample{{`{node="n"}`, 3}}},
		{"Nodes left alone after failures", []string{`leastwatt_sensor_breaker_open{node="n",source="redfish"} 1`, `leastwatt_sensor_breaker_open{node="m",source="redfish"} 1`}, []sample{{`{source="redfish"}`, 2}}},
		{"Oldest reading", []string{`leastwatt_sensor_reading_age_seconds{node="n",kind="power_watts",source="redfish"} 9`}, []sample{{`{kind="power_watts"}`, 9}}},
		{"Nodes without the profile asked for", []string{`leastwatt_profile_problems{by="NodeProfileTemplate"} 4`}, []sample{{`{by="NodeProfileTemplate"}`, 4}}},
		{"Share of connections by node", []string{ // of a Service with two ports and two endpoints on n
			`leastwatt_endpoint_share_ratio{namespace="d",service="s",port="a",endpoint="1",node="n"} 0.5`, `leastwatt_endpoint_share_ratio{namespace="d",service="s",port="a",endpoint="2",node="n"} 0.25`,
			`leastwatt_endpoint_share_ratio{namespace="d",service="s",port="a",endpoint="3",node="m"} 0.25`, `leastwatt_endpoint_share_ratio{namespace="d",service="s",port="b",endpoint="1",node="n"} 0.5`,
			`leastwatt_endpoint_share_ratio{namespace="d",service="s",port="b",endpoint="2",node="n"} 0.25`, `leastwatt_endpoint_share_ratio{namespace="d",service="s",port="b",endpoint="3",node="m"} 0.25`,
		}, []sample{{`{namespace="d",service="s",node="n"}`, 0.75}, {`{namespace="d",service="s",node="m"}`, 0.25}}},
		{"Endpoints whose server is unknown", []string{
			`leastwatt_endpoint_known{namespace="d",service="s",port="a",endpoint="1",node="n"} 0`, `leastwatt_endpoint_known{namespace="d",service="s",port="b",endpoint="1",node="n"} 0`,
			`leastwatt_endpoint_known{namespace="d",service="s",port="a",endpoint="3",node="m"} 1`, `leastwatt_endpoint_known{namespace="d",service="s",port="b",endpoint="3",node="m"} 1`,
		}, []sample{{`{namespace="d",service="s"}`, 1}}},
	} {
		for _, s := range x.series {
			name, value, _ := strings.Cut(s, "} ")
			for _, instance := range []string{"a", "b"} {
				input = append(input, series{fmt.Sprintf("%s,job=\"j\",instance=%q}", name, instance), value + "+0x20"})
			}
		}
		q, ok := all[fmt.Sprintf("panel %q, query 0", x.panel)]
		if !ok {
			t.Errorf("no panel %q", x.panel)
		}
		asks = append(asks, expression{q, "10m", x.want})
	}
	text, err := yaml.Marshal(map[string]any{"evaluation_interval": "1m", "tests": []any{map[string]any{"interval": "1m", "input_series": input, "promql_expr_test": asks}}})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "replicas.yaml")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), tool, "test", "rules", file).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
