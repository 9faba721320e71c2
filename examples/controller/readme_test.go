package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"text/tabwriter"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/leastwatt/leastwatt/k8s/api/v1alpha1"
	"github.com/leastwatt/leastwatt/sensors/sensorstest/emulate"
)

// table returns what kubectl get prints of a resource, without ages, and with what the README says in the place of
// what differs from run to run.
func (s *server) table(t *testing.T, resource string, readme *strings.Replacer, names ...string) string {
	t.Helper()
	c, err := rest.HTTPClientFor(s.config)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.config.Host+"/apis/"+v1alpha1.SchemeGroupVersion.String()+"/"+resource, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", "application/json;as=Table;v=v1;g=meta.k8s.io")
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var all metav1.Table
	if err := json.NewDecoder(resp.Body).Decode(&all); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	w := tabwriter.NewWriter(&out, 0, 0, 3, ' ', 0)
	line := func(cell func(i int) string) {
		var cells []string
		for i, c := range all.ColumnDefinitions {
			if c.Priority == 0 && c.Name != "Age" && c.Name != "Read" {
				cells = append(cells, cell(i))
			}
		}
		fmt.Fprintln(w, strings.Join(cells, "\t"))
	}
	line(func(i int) string { return strings.ToUpper(all.ColumnDefinitions[i].Name) })
	for _, r := range all.Rows {
		for _, n := range names {
			if fmt.Sprint(r.Cells[0]) == n {
				line(func(i int) string {
					if r.Cells[i] == nil {
						return ""
					}
					return readme.Replace(fmt.Sprint(r.Cells[i]))
				})
			}
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	return regexp.MustCompile(` +\n`).ReplaceAllString(out.String(), "\n")
}

// shown checks that the README shows an output as it is.
func shown(t *testing.T, output string) {
	t.Helper()
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(readme), output) {
		t.Errorf("README.md does not show:\n%s", output)
	}
}

// What the README tells somebody who comes from WAO: their objects, with servers that answer.
func (s *server) testMoveFromWAO(t *testing.T) {
	authority, err := emulate.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	infer := listen(t, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var in struct {
			Inputs []struct {
				Shape []int
				Data  [][]float64
			}
		}
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil || len(in.Inputs) != 1 || r.URL.Path != "/v2/models/model1/versions/v1/infer" {
			http.Error(w, "what is this", http.StatusBadRequest)
			return
		}
		data := make([]float64, len(in.Inputs[0].Data))
		for i, row := range in.Inputs[0].Data {
			data[i] = 80 + 10*row[0] // of cores in use
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"outputs": []any{map[string]any{"name": "predict", "shape": []int{len(data), 1}, "datatype": "FP32", "data": data}}})
	}))
	s.apply(t, &v1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "bmc", Namespace: namespace},
		Data: map[string][]byte{"username": []byte("monitor"), "password": []byte("secret"), "ca.crt": authority.PEM()}})
	var kepler strings.Builder
	kepler.WriteString("sensors:\n  sources:\n  - type: kepler\n    perNode:\n")
	names := []string{"worker-0", "worker-1"}
	for _, n := range names {
		bmc := listen(t, authority, emulate.NewBMC(machine, emulate.BMCOptions{User: "monitor", Password: "secret"}))
		pressure := listen(t, nil, emulate.NewPressure(machine, emulate.ExporterOptions{}, n))
		kepler.WriteString(fmt.Sprintf("      %s: {url: %s/metrics}\n", n, listen(t, nil, emulate.NewKepler(n, machine, emulate.KeplerOptions{}))))
		s.apply(t, newNode(n, "10.0.0.1", nil), object(t, fmt.Sprintf(`
apiVersion: node.waok8s.github.io/v1beta1
kind: NodeConfig
metadata: {name: %s, namespace: leastwatt-system}
spec:
  nodeName: %s
  metricsCollector:
    inletTemp: {type: Redfish, endpoint: "%s", basicAuthSecret: {name: bmc}}
    deltaP: {type: DifferentialPressureAPI, endpoint: "%s"}
  predictor:
    powerConsumption: {type: V2InferenceProtocol, endpoint: "%s/v2/models/model1/versions/v1/infer"}
`, n, n, bmc, pressure, infer)))
	}
	file := filepath.Join(t.TempDir(), "leastwatt.yaml")
	if err := os.WriteFile(file, []byte(kepler.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	s.run(t, "--wao", "--leastwatt-config="+file)
	t.Cleanup(func() {
		if t.Failed() {
			for _, n := range names {
				p := new(v1alpha1.NodeProfile)
				err := s.client.Get(context.Background(), client.ObjectKey{Name: n}, p) // the test's context has ended
				t.Logf("%+v %+v %+v %v", p.Spec.Model, p.Status, p.Status.Model, err)
			}
		}
	})
	for _, n := range names {
		within(t, patient, n+" is predicted", func() bool {
			p := s.profile(t, n)
			return p != nil && p.Status.Answering == "2/2" && p.Status.Model != nil && p.Status.Model.Error == "0.0 %"
		})
	}
	u, err := url.Parse(infer)
	if err != nil {
		t.Fatal(err)
	}
	shown(t, s.table(t, "nodeprofiles", strings.NewReplacer(u.Host, "models:8080"), names...))
}

// What the README tells somebody who comes from PEAKS.
func (s *server) testMoveFromPeaks(t *testing.T) {
	names := []string{"node-1", "node-2"}
	for _, n := range names {
		s.apply(t, newNode(n, "10.0.0.1", nil))
	}
	s.run(t, "--peaks-file=testdata/peaks.json")
	models := []string{"peaks-node-1", "peaks-node-2"}
	within(t, patient, "both models have a node", func() bool {
		for _, n := range models {
			m := new(v1alpha1.PowerModel)
			if err := s.client.Get(t.Context(), client.ObjectKey{Name: n}, m); err != nil || m.Status.Nodes != 1 {
				return false
			}
		}
		return true
	})
	shown(t, s.table(t, "powermodels", strings.NewReplacer(), models...))
	if err := s.client.DeleteAllOf(t.Context(), &v1alpha1.PowerModel{}); err != nil {
		t.Error(err)
	}
}

// What the README shows under "Profiles in the cluster" is taken by the API server.
func (s *server) testReadme(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(readme), "### Profiles in the cluster")
	_, block, _ := strings.Cut(section, "```yaml\n")
	block, _, ok := strings.Cut(block, "```")
	if !ok {
		t.Fatal("README.md has no resources under that heading")
	}
	for document := range strings.SplitSeq(block, "\n---\n") {
		if err := s.client.Create(t.Context(), object(t, document), client.DryRunAll, client.FieldValidation(metav1.FieldValidationStrict)); err != nil {
			t.Errorf("%v in\n%s", err, document)
		}
	}
}
