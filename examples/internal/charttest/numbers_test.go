package charttest

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	sigsyaml "sigs.k8s.io/yaml"

	"github.com/leastwatt/leastwatt/scoring/config"
)

// numbers are the paths at which a schema has numbers: [] is an element of a list, * any key.
func numbers(schema map[string]any, at string) (paths []string) {
	under := func(x any, at string) {
		if s, ok := x.(map[string]any); ok {
			paths = append(paths, numbers(s, at)...)
		}
	}
	switch schema["type"] {
	case "number", "integer":
		return []string{strings.TrimPrefix(at, ".")}
	}
	properties, _ := schema["properties"].(map[string]any)
	for name, x := range properties {
		under(x, at+"."+name)
	}
	under(schema["items"], at+"[]")
	under(schema["additionalProperties"], at+".*")
	for _, of := range []string{"oneOf", "anyOf", "allOf"} {
		list, _ := schema[of].([]any)
		for _, x := range list {
			under(x, at)
		}
	}
	return paths
}

// The chart knows all numbers of the file, and no other values.
func TestChartKnowsTheNumbersOfTheFile(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "..", "scoring", "config", "schema.json"))
	if err != nil {
		t.Fatal(err)
	}
	var schema map[string]any
	if err := json.Unmarshal(text, &schema); err != nil {
		t.Fatal(err)
	}
	want := numbers(schema, "")
	slices.Sort(want)
	want = slices.Compact(want)
	file, err := os.ReadFile(filepath.Join("..", "..", "..", "k8s", "chart", "files", "numbers.txt"))
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Fields(string(file)); len(want) < 40 || !slices.Equal(got, want) {
		t.Errorf("files/numbers.txt has %q; want, a line each:\n%s", got, strings.Join(want, "\n"))
	}
}

// Helm's --set makes texts of fractions: where the file has a number, it is one again, and nowhere else.
func TestTemplateNumbersBySet(t *testing.T) {
	all, err := render(t, "--set=config.objective.pue=1.2,config.objective.minimize=grams,config.objective.intensity[0].type=static,config.objective.intensity[0].value=299.5,config.objective.rates.USD=1.08,"+
		"config.objective.sites[0].labels.pue=1.25,config.objective.sites[0].at={52.5,13.4},config.objective.sites[0].pue=1.5e0,config.models[0].kind=piecewise,config.models[0].knots[0].utilization=0,config.models[0].knots[0].watts=50.5,"+
		"config.models[0].knots[1].utilization=1.0,config.models[0].knots[1].watts=300.25,config.models[0].wake.watts=99.5,config.models[0].wake.seconds=60,config.models[0].labels.watts=0.5,"+
		"config.sensors.sources[0].type=redfish,config.sensors.sources[0].url=https://b.example,config.sensors.sources[0].user=1.5,config.sensors.sources[0].password=2.5,config.sensors.sources[0].plausible.power_watts.max=1500.5,"+
		"scheduler.extraProfiles[0].schedulerName=green,scheduler.extraProfiles[0].objective.minimize=grams,scheduler.extraProfiles[0].objective.pue=1.75,"+
		"scheduler.extraProfiles[0].objective.intensity[0].type=static,scheduler.extraProfiles[0].objective.intensity[0].value=0.5")
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range all {
		if o.Kind != "ConfigMap" || o.Data["leastwatt.yaml"] == "" {
			continue
		}
		for file, pue := range map[string]float64{"leastwatt.yaml": 1.2, "objective-green.yaml": 1.75} {
			if _, err := config.Parse(file, []byte(o.Data[file])); err != nil {
				t.Fatalf("%v\n%s", err, o.Data[file])
			}
			var got struct {
				Objective struct{ PUE any }
				Models    []struct {
					Labels map[string]any
					Knots  []struct{ Watts any }
				}
				Sensors struct{ Sources []struct{ User any } }
			}
			if err := sigsyaml.Unmarshal([]byte(o.Data[file]), &got); err != nil {
				t.Fatal(err)
			}
			if m := got.Models[0]; got.Objective.PUE != pue || m.Labels["watts"] != "0.5" || m.Knots[1].Watts != 300.25 || got.Sensors.Sources[0].User != "1.5" {
				t.Errorf("%s: %+v", file, got)
			}
		}
		return
	}
	t.Error("the chart has no configuration")
}
