package model_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/power/model"
)

func TestBindingsOrder(t *testing.T) {
	b := must(model.NewBindings([]model.Binding{
		{Model: "amd", Hardware: "*EPYC 77*"},
		{Model: "any amd", Hardware: "amd*"},
		{Model: "gpu", Selector: "pool in (gpu, gpu-old), !drained"},
		{Model: "west", Selector: "zone=west,pool!=gpu"},
		{Model: "mine", Node: "n1"},
	}))
	epyc := []string{"PowerEdge R6515", "AMD EPYC 7702P 64-Core"}
	for _, c := range []struct {
		node      model.Node
		model, by string
	}{
		{model.Node{Name: "n1", Labels: map[string]string{"pool": "gpu"}, Hardware: epyc}, "mine", "node"},
		{model.Node{Name: "n2", Labels: map[string]string{"pool": "gpu-old"}, Hardware: epyc}, "gpu", "selector"},
		{model.Node{Name: "n3", Labels: map[string]string{"pool": "gpu", "drained": "", "zone": "west"}, Hardware: epyc}, "amd", "hardware"},
		{model.Node{Name: "n4", Labels: map[string]string{"zone": "west"}}, "west", "selector"},
		{model.Node{Name: "n5", Hardware: []string{"AMD Opteron 6174"}}, "any amd", "hardware"},
		{model.Node{Name: "n6"}, "", ""},
	} {
		if m, by := b.Find(c.node); m != c.model || by != c.by {
			t.Errorf("%s: model %q by %q, want %q by %q", c.node.Name, m, by, c.model, c.by)
		}
	}
}

func TestBindingsPredictor(t *testing.T) {
	set := must(model.NewSet(line("a", 1), line("b", 2)))
	b := must(model.NewBindings([]model.Binding{{Model: "a", Node: "n1"}, {Model: "b", Selector: "x"}, {Model: "gone", Node: "n3"}}))
	p, errs := b.Predictor(set, []model.Node{{Name: "n1"}, {Name: "n2", Labels: map[string]string{"x": "1"}}, {Name: "n3"}, {Name: "n4"}})
	for node, want := range map[string]power.Watts{"n1": 1, "n2": 2} {
		if w, err := p.Predict(t.Context(), power.State{Node: node}); err != nil || w != want {
			t.Errorf("%s: %v, %v; want %v", node, w, err, want)
		}
	}
	for _, node := range []string{"n3", "n4"} {
		if _, err := p.Predict(t.Context(), power.State{Node: node}); !errors.Is(err, power.ErrNoModel) {
			t.Errorf("%s: %v, want ErrNoModel", node, err)
		}
		if err := errs[node]; !errors.Is(err, power.ErrNoModel) || !strings.Contains(err.Error(), node) {
			t.Errorf("%s: reason %v", node, err)
		}
	}
	if len(errs) != 2 {
		t.Errorf("reasons %v", errs)
	}
}

func TestNewBindingsRefuses(t *testing.T) {
	for name, list := range map[string][]model.Binding{
		"no model":     {{Node: "a"}},
		"no target":    {{Model: "m"}},
		"two targets":  {{Model: "m", Node: "a", Hardware: "b"}},
		"node twice":   {{Model: "m", Node: "a"}, {Model: "o", Node: "a"}},
		"bad list":     {{Model: "m", Selector: "a in b"}},
		"open list":    {{Model: "m", Selector: "a in (b"}},
		"bad operator": {{Model: "m", Selector: "a within (b)"}},
		"no key":       {{Model: "m", Selector: "=b"}},
		"empty part":   {{Model: "m", Selector: "a=b,"}},
		"long":         {{Model: "m", Selector: strings.Repeat("a", 5000)}},
	} {
		if _, err := model.NewBindings(list); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func FuzzSelector(f *testing.F) {
	for _, s := range []string{"a", "!a", "a=b", "a==b,c!=d", "a in (b,c),d notin (e)", "a in ()", ")(", "a,,b"} {
		f.Add(s, "a", "b")
	}
	f.Fuzz(func(t *testing.T, text, key, value string) {
		b, err := model.NewBindings([]model.Binding{{Model: "m", Selector: text}})
		if err != nil {
			return
		}
		b.Find(model.Node{Labels: map[string]string{key: value}})
	})
}

func FuzzHardware(f *testing.F) {
	f.Add("amd*7763*", "AMD EPYC 7763")
	f.Add("ab*ba", "aba")
	f.Fuzz(func(t *testing.T, pattern, text string) {
		b, err := model.NewBindings([]model.Binding{{Model: "m", Hardware: pattern}})
		if err != nil {
			return
		}
		m, _ := b.Find(model.Node{Hardware: []string{text}})
		words := func(s string) []string { // EqualFold knows more folds than a pattern does
			all := strings.FieldsFunc(s, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
			for i := range all {
				all[i] = strings.ToLower(all[i])
			}
			return all
		}
		if !strings.ContainsAny(pattern+text, "*") && (m != "") != (len(words(text)) > 0 && slices.Equal(words(pattern), words(text))) {
			t.Fatalf("%q against %q: %q", pattern, text, m)
		}
	})
}

func ExampleBindings() {
	set, err := model.NewSet(
		&model.Model{Name: "r740", Form: power.Linear{Idle: 52, Peak: 457}},
		&model.Model{Name: "gpu pool", Form: power.Linear{Idle: 300, Peak: 900}},
	)
	if err != nil {
		panic(err)
	}
	bindings, err := model.NewBindings([]model.Binding{
		{Model: "r740", Hardware: "*PowerEdge R740*"},
		{Model: "gpu pool", Selector: "pool in (gpu)"},
	})
	if err != nil {
		panic(err)
	}
	p, missing := bindings.Predictor(set, []model.Node{
		{Name: "a", Hardware: []string{"Dell PowerEdge R740"}},
		{Name: "b", Labels: map[string]string{"pool": "gpu"}},
		{Name: "c"},
	})
	for _, node := range []string{"a", "b"} {
		w, err := p.Predict(context.Background(), power.State{Node: node, Utilization: 0.5})
		fmt.Println(node, w, err)
	}
	fmt.Println(missing["c"])
	// Output:
	// a 254.50 W <nil>
	// b 600.00 W <nil>
	// node "c": no binding gives it a model: no model
}
