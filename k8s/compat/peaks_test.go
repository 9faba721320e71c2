package compat_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/leastwatt/leastwatt/k8s/api/v1alpha1"
	"github.com/leastwatt/leastwatt/k8s/compat"
	"github.com/leastwatt/leastwatt/k8s/controllers"
	"github.com/leastwatt/leastwatt/k8s/profiles"
	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/power/model"
)

// A row is a model that remembers what it was asked.
type row struct{ last []float64 }

func (r *row) Infer(_ context.Context, rows [][]float64) ([]float64, error) {
	r.last = rows[0]
	out := make([]float64, len(rows))
	return out, nil
}

// PEAKS' coefficients give its own watts: 0 to 100 % costs 91.435654157550 W, 20 to 30 % costs 11.143557716109 W.
func TestPeaks(t *testing.T) {
	const models = `{"node-1": {"k0": 174.0, "k1": -91.50493019588365, "k2": -0.07186049052516228}}`
	forms := map[string]string{
		"the models": models,
		"arguments":  `{"watcherAddress": "http://10.0.0.8:2020", "nodePowerModel": ` + models + `}`,
		"configuration": "apiVersion: kubescheduler.config.k8s.io/v1\nkind: KubeSchedulerConfiguration\nprofiles:\n- schedulerName: peaks\n  pluginConfig:\n" +
			"  - {name: NodeResourcesFit, args: {scoringStrategy: {type: LeastAllocated}}}\n  - name: Peaks\n    args: {watcherAddress: http://10.0.0.8:2020, nodePowerModel: " + models + "}\n",
	}
	for form, text := range forms {
		file := filepath.Join(t.TempDir(), "peaks")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		p := compat.PeaksFile(file)
		list, err := p.PowerModels(t.Context())
		if err != nil || len(list) != 1 || list[0].Name != "peaks-node-1" || list[0].Spec.Nodes[0] != "node-1" {
			t.Fatalf("%s: %+v, %v", form, list, err)
		}
		m, err := model.Unmarshal([]byte(list[0].Spec.JSON))
		if err != nil {
			t.Fatal(err)
		}
		use, err := m.Predictor()
		if err != nil {
			t.Fatal(err)
		}
		watts := func(u float64) float64 {
			w, err := use.Predict(t.Context(), power.State{Utilization: u})
			if err != nil {
				t.Fatal(err)
			}
			return float64(w)
		}
		if a, b := watts(1)-watts(0), watts(0.3)-watts(0.2); math.Abs(a-91.435654157550) > 1e-9 || math.Abs(b-11.143557716109) > 1e-9 {
			t.Errorf("%s: %v W and %v W", form, a, b)
		}
		w, err := p.Want(t.Context(), nil, node("node-1", "10.0.0.1", nil))
		if (form == "the models") != (w == nil) || err != nil {
			t.Errorf("%s: %+v, %v", form, w, err)
		}
		if w != nil && (w.Profile.Spec.Sensors[0].Type != "load-watcher" || w.Profile.Spec.Sensors[0].URL != "http://10.0.0.8:2020") {
			t.Errorf("%s: %+v", form, w.Profile)
		}
	}
}

// A file that is empty, as while somebody writes it, is an error, which leaves the models that there are.
func TestPeaksOfAnEmptyFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "peaks")
	for _, text := range []string{"", "{}", `{"watcherAddress": "http://10.0.0.8:2020"}`, `{"nodePowerModel": {}}`} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if list, err := compat.PeaksFile(file).PowerModels(t.Context()); err == nil || !strings.Contains(err.Error(), "holds no power model") || !strings.Contains(err.Error(), file) {
			t.Errorf("%q: %v, %v", text, list, err)
		}
	}
}

// What has not changed is not read again, at each sweep; what has is.
func TestPeaksOfTheSameFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "peaks")
	write := func(last float64) {
		models := map[string]compat.PeaksModel{"last": {K0: last}}
		for i := range 2000 {
			models[fmt.Sprint("n", i)] = compat.PeaksModel{K0: 100, K1: -50, K2: -0.05}
		}
		text, err := json.Marshal(models)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p := compat.PeaksFile(file)
	for _, k0 := range []float64{100, 200} {
		write(k0)
		models, err := p.PowerModels(t.Context())
		if err != nil || len(models) != 2001 || models[0].Name != "peaks-last" || !strings.Contains(strings.ReplaceAll(models[0].Spec.JSON, " ", ""), fmt.Sprintf(`"k0":%v`, k0)) {
			t.Fatalf("%d models, %+v, %v", len(models), models[:min(1, len(models))], err)
		}
		if n := testing.AllocsPerRun(1, func() {
			if again, err := p.PowerModels(t.Context()); err != nil || len(again) != len(models) {
				t.Errorf("again: %d models, %v", len(again), err)
			}
		}); n > 100 {
			t.Errorf("reading what has not changed takes %v allocations: want none for each model", n)
		}
	}
}

// Until PEAKS' models could be read once, as where its ConfigMap is away when the program starts, profiles made of them stay.
func TestPeaksNotReadYet(t *testing.T) {
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	c := fake.NewClientBuilder().WithScheme(scheme).WithObjects(&v1alpha1.NodeProfile{ObjectMeta: metav1.ObjectMeta{Name: "made", Annotations: map[string]string{controllers.MadeBy: "Peaks"}}},
		&v1alpha1.NodeProfile{ObjectMeta: metav1.ObjectMeta{Name: "other", Annotations: map[string]string{controllers.MadeBy: "NodeProfileTemplate/x"}}}).Build()
	p := compat.PeaksFile(filepath.Join(t.TempDir(), "peaks"))
	if _, err := p.PowerModels(t.Context()); err == nil {
		t.Fatal("it read a file that is not there")
	}
	for name, held := range map[string]bool{"made": true, "other": false, "bare": false} {
		w, err := p.Want(t.Context(), c, node(name, "10.0.0.1", nil))
		if err != nil || held != (w != nil) || w != nil && (w.By != "Peaks" || w.Err == nil) {
			t.Errorf("%s: %+v, %v", name, w, err)
		}
	}
}

// As many nodes as PEAKS may have models of can have them in the cluster.
func TestAllPeaksNodesCount(t *testing.T) {
	if compat.MaxPeaksNodes > profiles.MaxModels {
		t.Errorf("PEAKS may have models of %d nodes, and %d PowerModels count", compat.MaxPeaksNodes, profiles.MaxModels)
	}
}

func TestParsePeaksRefuses(t *testing.T) {
	for text, want := range map[string]string{
		`{"n1": {"k0": 1, "kk": 2}}`: `node "n1": kk`, `{"n1": {"k0": 1, "k2": 2}}`: `node "n1": k1 is missing`, `{"n1": {"k0": "174", "k1": 1, "k2": 1}}`: `node "n1": k0 is "174": want a number`,
		`{"n1": 3}`: `node "n1": want k0, k1 and k2`, `{"n1": {"k0": 1, "k1": null, "k2": 2}}`: `node "n1": k1 is null`,
		`{"watcherAddress": "10.0.0.8:2020", "nodePowerModel": {}}`: `watcherAddress "10.0.0.8:2020": want https://`, `{"watcherAddress": "http://a:hunter2@w:2020", "nodePowerModel": {}}`: `watcherAddress: holds an @`,
		`{"watcherAddress": "http://w:2020", "nodePowerModel": {"n1": {"k0": 1, "k1": 2, "k2": []}}}`: `node "n1": k2 is []`,
		`{"watcherAddress": 3, "nodePowerModel": {}}`:                                                 "watcherAddress", `[]`: "want JSON or YAML", `{"N_1": {"k0": 1}}`: "no node's name", "kind: KubeSchedulerConfiguration": "no pluginConfig",
		strings.Repeat(" ", compat.MaxPeaksBytes+1): "more than",
	} {
		if _, err := compat.ParsePeaks([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: %v, want %q", text, err, want)
		}
	}
}

func FuzzParsePeaks(f *testing.F) {
	f.Add([]byte(`{"node-1": {"k0": 174.0, "k1": -91.5, "k2": -0.07}}`))
	f.Add([]byte("kind: KubeSchedulerConfiguration\nprofiles: []\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		a, err := compat.ParsePeaks(data)
		if err != nil {
			return
		}
		if _, err := json.Marshal(a); err != nil {
			t.Error(err)
		}
	})
}
