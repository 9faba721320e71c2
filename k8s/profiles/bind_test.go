package profiles

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/leastwatt/leastwatt/k8s/api/v1alpha1"
	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/power/model"
	"github.com/leastwatt/leastwatt/scoring"
)

// The PowerModel that a node had is held no longer than the node has it.
func TestBoundModelsAreForgotten(t *testing.T) {
	p, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	text, err := model.Marshal(&model.Model{Name: "straight", Form: power.Linear{Idle: 50, Peak: 100}})
	if err != nil {
		t.Fatal(err)
	}
	p.SetModel(&v1alpha1.PowerModel{ObjectMeta: metav1.ObjectMeta{Name: "m"}, Spec: v1alpha1.PowerModelSpec{JSON: string(text), Nodes: []string{"n1"}}})
	bind := func() int {
		t.Helper()
		p.models.compile() // as Run does after changes
		file := func(m scoring.Machine) (scoring.Spec, error) {
			return scoring.Spec{Name: m.Name, Predictor: power.Linear{Idle: 1, Peak: 2}}, nil
		}
		if _, err := p.bind(scoring.Machine{Name: "n1", Cores: 4}, file); err != nil {
			t.Fatal(err)
		}
		return len(p.errors.bound)
	}
	if n := bind(); n != 1 {
		t.Errorf("%d nodes have a PowerModel, want one", n)
	}
	p.DeleteModel("m")
	if n := bind(); n != 0 {
		t.Errorf("%d nodes have a PowerModel after the only one went", n)
	}
}
