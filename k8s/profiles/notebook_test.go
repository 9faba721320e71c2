package profiles

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/power/model"
)

// Only of nodes with a profile is kept what was learned, and only what fits into its status.
func TestKeeping(t *testing.T) {
	straight := &model.Model{Name: "m", Form: power.Linear{Idle: 50, Peak: 150}, Fitted: &model.Fitted{Samples: 7}}
	rng := rand.New(rand.NewPCG(1, 2))
	var state strings.Builder
	for range 1500 {
		fmt.Fprintf(&state, ",%d", rng.Uint64())
	}
	large := *straight
	large.Learner = []byte(`{"x":[0` + state.String() + `]}`)
	b := keeping{newNotebook()}
	if err := b.Save("gone", straight); err != nil || len(b.fresh) != 0 {
		t.Errorf("of a node without a profile %d models are kept, %v", len(b.fresh), err)
	}
	b.tell("n1", nil)
	if err := b.Save("n1", straight); err != nil || b.fresh["n1"] == nil || b.fresh["n1"].Readings != 7 {
		t.Errorf("kept %+v, %v", b.fresh["n1"], err)
	}
	if m, err := b.Load("n1"); m != nil || err != nil {
		t.Errorf("its status says nothing, and %v, %v was loaded", m, err)
	}
	if err := b.Save("n1", &large); err == nil || !strings.Contains(err.Error(), "at most 16384") || b.fresh["n1"].Readings != 7 {
		t.Errorf("%v: want that it is too large", err)
	}
	b.forget("n1")
	if err := b.Save("n1", straight); err != nil || len(b.fresh)+len(b.told) != 0 {
		t.Errorf("after the profile went, %d models are kept, %v", len(b.fresh), err)
	}
}
