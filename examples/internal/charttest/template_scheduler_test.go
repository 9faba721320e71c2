package charttest

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/runtime"
	kubescheduler "k8s.io/kube-scheduler/config/v1"
	sigsyaml "sigs.k8s.io/yaml"

	"github.com/leastwatt/leastwatt/k8s/scheduler"
	"github.com/leastwatt/leastwatt/k8s/shift"
	"github.com/leastwatt/leastwatt/scoring/config"
)

// schedulerConfig is what the chart tells its scheduler, read strictly, and the arguments of its plugins as JSON.
func schedulerConfig(t *testing.T, args ...string) (*kubescheduler.KubeSchedulerConfiguration, map[string]*runtime.Unknown) {
	t.Helper()
	all, err := render(t, args...)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range all {
		if text := o.Data["scheduler.yaml"]; text != "" {
			c := new(kubescheduler.KubeSchedulerConfiguration)
			if err := sigsyaml.UnmarshalStrict([]byte(text), c); err != nil {
				t.Fatalf("%v\n%s", err, text)
			}
			plugins := make(map[string]*runtime.Unknown)
			for _, p := range c.Profiles[0].PluginConfig {
				plugins[p.Name] = &runtime.Unknown{Raw: p.Args.Raw, ContentType: runtime.ContentTypeJSON}
			}
			return c, plugins
		}
	}
	t.Fatal("the chart tells its scheduler nothing")
	return nil, nil
}

// In shadow mode nothing of Kubernetes' own choice is taken away: what is measured must be measured against it.
func TestTemplateShadowDisablesNothing(t *testing.T) {
	disabled := func(args ...string) []string {
		c, _ := schedulerConfig(t, args...)
		var names []string
		for _, p := range c.Profiles[0].Plugins.Score.Disabled {
			names = append(names, p.Name)
		}
		return names
	}
	if got, want := disabled(), []string{"NodeResourcesFit", "NodeResourcesBalancedAllocation"}; !slices.Equal(got, want) {
		t.Errorf("mode decide disables the scores %v, want %v", got, want)
	}
	if got := disabled("--set=scheduler.mode=shadow"); len(got) > 0 {
		t.Errorf("mode shadow disables the scores %v", got)
	}
}

// One scheduler can have several profiles: each has what it says, with the rest as the scheduler has it, and an objective of its own is in a
// file beside the same sensors and models. The first profile is what it is without them.
func TestTemplateExtraProfiles(t *testing.T) {
	base := []string{"--set=scheduler.args.events=true,scheduler.args.podUsageAssumption=0.5,scheduler.powerCap.args.caps[0].name=pdu,scheduler.powerCap.args.caps[0].watts=2000000,scheduler.spreadRate.enabled=true"}
	const extra = `--set-json=scheduler.extraProfiles=[
		{"schedulerName": "green", "weight": 7, "args": {"events": false, "keepDecisions": 10000}, "powerCap": {"enabled": true}, "spreadRate": {"weight": 3},
		 "objective": {"minimize": "grams", "intensity": [{"type": "prometheus", "url": "http://grid.example:8123", "expr": "intensity"}]}},
		{"schedulerName": "watching", "mode": "shadow", "percentageOfNodesToScore": 30, "spreadRate": {"enabled": false}, "placement": {"enabled": true, "args": {"podUsageAssumption": 0.75}}},
		{"schedulerName": "plain", "disabledScores": []}]`
	alone, _ := schedulerConfig(t, base...)
	c, _ := schedulerConfig(t, append(base, extra)...)
	if len(c.Profiles) != 4 || !reflect.DeepEqual(c.Profiles[0], alone.Profiles[0]) {
		t.Fatalf("%d profiles; the first is %+v, want %+v", len(c.Profiles), c.Profiles[0], alone.Profiles[0])
	}
	type profile struct {
		enabled, disabled string
		percentage        int32
		args              scheduler.Args
	}
	var got []profile
	for _, p := range c.Profiles[1:] {
		x := profile{}
		if p.PercentageOfNodesToScore != nil {
			x.percentage = *p.PercentageOfNodesToScore
		}
		for _, e := range p.Plugins.MultiPoint.Enabled {
			x.enabled += fmt.Sprintf("%s %d,", e.Name, *cmp.Or(e.Weight, new(int32(0))))
		}
		for _, e := range p.Plugins.Score.Disabled {
			x.disabled += e.Name + ","
		}
		for _, a := range p.PluginConfig {
			raw := &runtime.Unknown{Raw: a.Args.Raw, ContentType: runtime.ContentTypeJSON}
			var err error
			switch a.Name {
			case scheduler.Name:
				x.args, err = scheduler.DecodeArgs(raw)
			case scheduler.CapName:
				var caps scheduler.CapArgs
				if caps, err = scheduler.DecodeCapArgs(raw); err == nil && (len(caps.Caps) != 1 || caps.Caps[0].Watts != 2e6 || caps.Config != "/etc/leastwatt/objective-green.yaml") {
					t.Errorf("%s: PowerCap has %+v", *p.SchedulerName, caps)
				}
			case scheduler.PlacementName:
				var placement scheduler.PlacementArgs
				if placement, err = scheduler.DecodePlacementArgs(raw); err == nil && placement.PodUsageAssumption != 0.75 {
					t.Errorf("%s: LeastWattPlacement has %+v", *p.SchedulerName, placement)
				}
			}
			if err != nil {
				t.Errorf("%s: %v", *p.SchedulerName, err)
			}
		}
		got = append(got, x)
	}
	const scores = "NodeResourcesFit,NodeResourcesBalancedAllocation,"
	for i, want := range []profile{
		{enabled: "LeastWatt 7,PowerCap 0,SpreadRate 3,", disabled: scores, args: scheduler.Args{Config: "/etc/leastwatt/objective-green.yaml", Mode: "decide", KeepDecisions: 10000}},
		{enabled: "LeastWatt 10,LeastWattPlacement 100,", percentage: 30, args: scheduler.Args{Mode: "shadow", Events: true}},
		{enabled: "LeastWatt 10,SpreadRate 1000,", args: scheduler.Args{Mode: "decide", Events: true}},
	} {
		g := got[i]
		if g.enabled != want.enabled || g.disabled != want.disabled || g.percentage != want.percentage || g.args.Config != want.args.Config || g.args.Mode != want.args.Mode ||
			g.args.Events != want.args.Events || g.args.PodUsageAssumption != 0.5 || want.args.KeepDecisions != 0 && g.args.KeepDecisions != want.args.KeepDecisions {
			t.Errorf("profile %d is %+v, want %+v", i+1, g, want)
		}
	}
	all, err := render(t, append(base, extra, "--set=networkPolicy.enabled=true")...)
	if err != nil {
		t.Fatal(err)
	}
	files, grid := 0, false
	for _, o := range all {
		grid = grid || o.Kind == "NetworkPolicy" && strings.HasSuffix(o.Metadata.Name, "-scheduler") && strings.Contains(string(o.Spec), "8123")
		text := o.Data["objective-green.yaml"]
		if text == "" {
			continue
		}
		files++
		var its, common map[string]any
		if err := errors.Join(sigsyaml.Unmarshal([]byte(text), &its), sigsyaml.Unmarshal([]byte(o.Data["leastwatt.yaml"]), &common)); err != nil {
			t.Fatal(err)
		}
		delete(its, "objective")
		own, err := config.Parse("objective-green.yaml", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if string(own.Grid.Minimize) != "grams" || !reflect.DeepEqual(its, common) {
			t.Errorf("the file of the profile is %s beside %v", text, common)
		}
	}
	if files != 1 || !grid {
		t.Errorf("%d files; the network policy lets the scheduler reach the grid: %t", files, grid)
	}
}

// The scheduler's rate of requests is a value.
func TestTemplateClientConnection(t *testing.T) {
	for set, want := range map[string][2]int{"scheduler.enabled=true": {50, 100}, "scheduler.clientConnection.qps=500,scheduler.clientConnection.burst=1000": {500, 1000}} {
		c, _ := schedulerConfig(t, "--set="+set)
		if got := [2]int{int(c.ClientConnection.QPS), int(c.ClientConnection.Burst)}; got != want {
			t.Errorf("%s: qps and burst are %v, want %v", set, got, want)
		}
	}
}

// Each plugin has its arguments; what PowerCap and LeastWattPlacement take as LeastWatt does they have of it, unless they
// are told otherwise.
func TestTemplateArguments(t *testing.T) {
	_, plugins := schedulerConfig(t, "--set=scheduler.powerCap.enabled=true,scheduler.powerCap.args.caps[0].name=pdu,scheduler.powerCap.args.caps[0].watts=1,scheduler.placement.enabled=true,"+
		"scheduler.spreadRate.enabled=true,scheduler.spreadRate.args.topologyKeys={rack}",
		`--set-json=scheduler.args={"config":"/other.yaml","podUsageAssumption":0.5,"defaultPodCPU":"200m","utilization":["requests"],"gpuResources":["a.b/gpu"],"gpuUsageAssumption":0.25,"events":true}`,
		`--set-json=scheduler.placement.args={"podUsageAssumption":0.75}`)
	if a, err := scheduler.DecodeSpreadArgs(plugins["SpreadRate"]); err != nil || !slices.Equal(a.TopologyKeys, []string{"rack"}) {
		t.Errorf("SpreadRate: %+v, %v", a, err)
	}
	all, err := scheduler.DecodeArgs(plugins["LeastWatt"])
	if err != nil {
		t.Fatal(err)
	}
	for field, value := range reflect.ValueOf(all.Usage).Fields() {
		if field.IsExported() && reflect.DeepEqual(value.Interface(), reflect.ValueOf(defaults(t)).FieldByIndex(field.Index).Interface()) {
			t.Errorf("%s has its default %v: set it in this test", field.Name, value)
		}
	}
	powerCap, err := scheduler.DecodeCapArgs(plugins["PowerCap"])
	if err != nil || powerCap.Config != all.Config || !reflect.DeepEqual(powerCap.Usage, all.Usage) {
		t.Errorf("PowerCap: %+v, %v; want the usage of LeastWatt, %+v", powerCap, err, all)
	}
	placement, err := scheduler.DecodePlacementArgs(plugins["LeastWattPlacement"])
	if err != nil || placement.PodUsageAssumption != 0.75 || placement.DefaultPodCPU != "200m" {
		t.Errorf("LeastWattPlacement: %+v, %v; want its own assumption, and the rest of LeastWatt", placement, err)
	}
}

// What helm's --set makes a text of, or a number, the scheduler gets as it reads it.
func TestTemplateArgumentsBySet(t *testing.T) {
	_, plugins := schedulerConfig(t, "--set=scheduler.args.podUsageAssumption=0.5,scheduler.args.gpuUsageAssumption=0.25,scheduler.args.defaultPodCPU=2,scheduler.powerCap.enabled=true,"+
		"scheduler.powerCap.args.caps[0].name=pdu,scheduler.powerCap.args.caps[0].watts=1500.5,scheduler.powerCap.args.caps[0].groups.a=99.5,scheduler.powerCap.args.caps[0].groups.b=7,"+
		"scheduler.placement.enabled=true,scheduler.placement.args.podUsageAssumption=1")
	all, err := scheduler.DecodeArgs(plugins["LeastWatt"])
	if err != nil || all.PodUsageAssumption != 0.5 || all.GPUUsageAssumption != 0.25 || all.DefaultPodCPU != "2" {
		t.Errorf("LeastWatt: %+v, %v", all, err)
	}
	powerCap, err := scheduler.DecodeCapArgs(plugins["PowerCap"])
	if want := []scheduler.Cap{{Name: "pdu", Watts: 1500.5, Groups: map[string]float64{"a": 99.5, "b": 7}}}; err != nil || !reflect.DeepEqual(powerCap.Usage, all.Usage) || !reflect.DeepEqual(powerCap.Caps, want) {
		t.Errorf("PowerCap: %+v, %v", powerCap, err)
	}
	placement, err := scheduler.DecodePlacementArgs(plugins["LeastWattPlacement"])
	if err != nil || placement.PodUsageAssumption != 1 || placement.DefaultPodCPU != "2" {
		t.Errorf("LeastWattPlacement: %+v, %v", placement, err)
	}
}

// The values have every argument that the plugins have, and every field of policies, and no other.
func TestArgumentsAreValues(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "..", "k8s", "chart", "values.schema.json"))
	if err != nil {
		t.Fatal(err)
	}
	var schema map[string]any
	if err := json.Unmarshal(text, &schema); err != nil {
		t.Fatal(err)
	}
	const plugins = "properties scheduler properties "
	for at, of := range map[string]reflect.Type{
		plugins + "args":                                           reflect.TypeFor[scheduler.Args](),
		plugins + "powerCap properties args":                       reflect.TypeFor[scheduler.CapArgs](),
		plugins + "spreadRate properties args":                     reflect.TypeFor[scheduler.SpreadArgs](),
		plugins + "placement properties args":                      reflect.TypeFor[scheduler.PlacementArgs](),
		plugins + "powerCap properties args properties caps items": reflect.TypeFor[scheduler.Cap](),
		"properties shift properties policies":                     reflect.TypeFor[shift.Policies](),
		"$defs policy":                                             reflect.TypeFor[shift.Policy](),
		"$defs policy properties budget":                           reflect.TypeFor[shift.Budget](),
	} {
		var names []string
		for _, f := range reflect.VisibleFields(of) {
			if tag, ok := f.Tag.Lookup("json"); ok {
				name, _, _ := strings.Cut(tag, ",")
				names = append(names, name)
			}
		}
		slices.Sort(names)
		in := schema
		for name := range strings.FieldsSeq(at + " properties") {
			in, _ = in[name].(map[string]any)
		}
		if got := slices.Sorted(maps.Keys(in)); !slices.Equal(got, names) {
			t.Errorf("%s: the values have %v, the program has %v", at, got, names)
		}
	}
}

// defaults is what is assumed of pods where nothing is said.
func defaults(t *testing.T) scheduler.Usage {
	a, err := scheduler.DecodePlacementArgs(nil)
	if err != nil {
		t.Fatal(err)
	}
	return a.Usage
}
