package compat

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/leastwatt/leastwatt/k8s/api/v1alpha1"
	"github.com/leastwatt/leastwatt/k8s/controllers"
	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/power/model"
)

// Limits on what describes PEAKS.
const (
	MaxPeaksBytes = 4 << 20
	MaxPeaksNodes = 10_000
)

// PeaksArgs are what PEAKS was told: its plugin's arguments, or the power models alone.
type PeaksArgs struct {
	WatcherAddress string                `json:"watcherAddress"`
	NodePowerModel map[string]PeaksModel `json:"nodePowerModel"`
}

// A PeaksModel is P(x) = K0 + K1·e^(K2·x), x the CPU in use in percent.
type PeaksModel struct {
	K0 float64 `json:"k0"`
	K1 float64 `json:"k1"`
	K2 float64 `json:"k2"`
}

// ParsePeaks reads PEAKS' arguments, from JSON or YAML in any of the forms in which it takes them: a
// KubeSchedulerConfiguration with the plugin Peaks, the plugin's arguments, or the map of node power models that
// its environment variable leads to.
func ParsePeaks(data []byte) (PeaksArgs, error) {
	var a PeaksArgs
	if len(data) > MaxPeaksBytes {
		return a, fmt.Errorf("PEAKS: more than %d bytes", MaxPeaksBytes)
	}
	var probe map[string]any
	if err := yaml.UnmarshalStrict(data, &probe); err != nil {
		return a, fmt.Errorf("PEAKS: want JSON or YAML: %w", err)
	}
	var raw peaksArgs
	var err error
	switch {
	case probe["kind"] == "KubeSchedulerConfiguration":
		raw, err = fromConfiguration(data)
	case probe["nodePowerModel"] != nil || probe["watcherAddress"] != nil:
		err = yaml.Unmarshal(data, &raw)
	default:
		err = yaml.UnmarshalStrict(data, &raw.NodePowerModel)
	}
	if err != nil {
		return a, fmt.Errorf("PEAKS: %w", err)
	}
	if n := len(raw.NodePowerModel); n > MaxPeaksNodes {
		return a, fmt.Errorf("PEAKS: power models of %d nodes: at most %d are read", n, MaxPeaksNodes)
	}
	if a.WatcherAddress = raw.WatcherAddress; a.WatcherAddress != "" {
		if err := address(a.WatcherAddress); err != nil {
			return PeaksArgs{}, fmt.Errorf("PEAKS: watcherAddress%w", err)
		}
	}
	a.NodePowerModel = make(map[string]PeaksModel, len(raw.NodePowerModel))
	for _, n := range slices.Sorted(maps.Keys(raw.NodePowerModel)) {
		if errs := validation.IsDNS1123Subdomain("peaks-" + n); len(errs) > 0 {
			return PeaksArgs{}, fmt.Errorf("PEAKS: nodePowerModel: %q is no node's name: %s", n, errs[0])
		}
		m, err := peaksModel(raw.NodePowerModel[n])
		if err != nil {
			return PeaksArgs{}, fmt.Errorf("PEAKS: nodePowerModel: node %q: %w", n, err)
		}
		a.NodePowerModel[n] = m
	}
	return a, nil
}

// peaksArgs are [PeaksArgs] whose models are not read yet.
type peaksArgs struct {
	WatcherAddress string                     `json:"watcherAddress"`
	NodePowerModel map[string]json.RawMessage `json:"nodePowerModel"`
}

// peaksModel reads one node's model. PEAKS takes a coefficient that is missing for 0, and the model then for one that costs nothing.
func peaksModel(data []byte) (PeaksModel, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(data, &fields); err != nil || fields == nil {
		return PeaksModel{}, errors.New("want k0, k1 and k2")
	}
	var m PeaksModel
	want := map[string]*float64{"k0": &m.K0, "k1": &m.K1, "k2": &m.K2}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		value, k := fields[name], strings.ToLower(name)
		v := want[k]
		if v == nil {
			return PeaksModel{}, fmt.Errorf("%.64s is none of k0, k1 and k2, or one of them for the second time", name)
		}
		if err := json.Unmarshal(value, v); err != nil || string(value) == "null" {
			return PeaksModel{}, fmt.Errorf("%s is %.64s: want a number", k, value)
		}
		delete(want, k)
	}
	for _, k := range slices.Sorted(maps.Keys(want)) {
		return PeaksModel{}, fmt.Errorf("%s is missing", k)
	}
	return m, nil
}

func fromConfiguration(data []byte) (peaksArgs, error) {
	var c struct {
		Profiles []struct {
			PluginConfig []struct {
				Name string    `json:"name"`
				Args peaksArgs `json:"args"`
			} `json:"pluginConfig"`
		} `json:"profiles"`
	}
	// Other plugins' arguments are not ours to judge.
	if err := yaml.Unmarshal(data, &c); err != nil {
		return peaksArgs{}, err
	}
	for _, p := range c.Profiles {
		for _, x := range p.PluginConfig {
			if x.Name == "Peaks" {
				return x.Args, nil
			}
		}
	}
	return peaksArgs{}, errors.New("the KubeSchedulerConfiguration has no pluginConfig of the name Peaks")
}

// Peaks is PEAKS' power models and load-watcher as PowerModels and NodeProfiles.
type Peaks struct {
	from string // for errors
	read func(ctx context.Context) ([]document, error)
	last atomic.Pointer[PeaksArgs] // that could be read

	mu   sync.Mutex
	made made // guarded by mu
}

// A document is a text that may describe PEAKS, and which one of several it is.
type document struct{ name, text string }

// made is what was made of documents. A sweep finds the same ones again and again, and to read 5,000 models takes 0.4 s.
type made struct {
	of     []document
	models []v1alpha1.PowerModel
	err    error
}

// PeaksFile returns what a file says, which is read again and again. One that holds no power model is an error: it may be half written.
func PeaksFile(path string) *Peaks {
	return &Peaks{from: path, read: func(context.Context) ([]document, error) {
		f, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		data, err := io.ReadAll(io.LimitReader(f, MaxPeaksBytes+1))
		return []document{{text: string(data)}}, err
	}}
}

// PeaksConfigMap returns what a ConfigMap says in the first of its keys, by name, that PEAKS would understand. It is
// read by name, again and again, and needs the verb get alone where the reader has no cache.
func PeaksConfigMap(c client.Reader, namespace, name string) *Peaks {
	from := fmt.Sprintf("ConfigMap %s/%s", namespace, name)
	return &Peaks{from: from, read: func(ctx context.Context) (all []document, err error) {
		var m v1.ConfigMap
		if err := c.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, &m); err != nil {
			return nil, err
		}
		for _, k := range slices.Sorted(maps.Keys(m.Data)) {
			all = append(all, document{fmt.Sprintf("%s: key %q: ", from, k), m.Data[k]})
		}
		return all, nil
	}}
}

// Name implements [controllers.ModelSource].
func (p *Peaks) Name() string { return "Peaks" }

// PowerModels implements [controllers.ModelSource]. A model that predicts no finite watts at idle and full load is an
// error of all: it is better seen than skipped.
func (p *Peaks) PowerModels(ctx context.Context) ([]v1alpha1.PowerModel, error) {
	all, err := p.read(ctx)
	if err != nil {
		return nil, fmt.Errorf("PEAKS: %w", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.made.of == nil || !slices.Equal(p.made.of, all) {
		models, err := p.of(all)
		p.made = made{all, models, err}
	}
	return p.made.models, p.made.err
}

// of makes the PowerModels of the first of several documents that holds any.
func (p *Peaks) of(all []document) ([]v1alpha1.PowerModel, error) {
	var errs []error
	for _, d := range all {
		a, err := ParsePeaks([]byte(d.text))
		switch {
		case err != nil:
			errs = append(errs, fmt.Errorf("%s%w", d.name, err))
			continue
		case len(a.NodePowerModel) == 0:
			continue
		}
		var models []v1alpha1.PowerModel
		for _, n := range slices.Sorted(maps.Keys(a.NodePowerModel)) {
			k := a.NodePowerModel[n]
			text, err := model.Marshal(&model.Model{Name: "PEAKS " + n, Form: power.Exponential{K0: k.K0, K1: k.K1, K2: k.K2}})
			if err != nil {
				return nil, fmt.Errorf("PEAKS: nodePowerModel: node %q: %w", n, err)
			}
			m := v1alpha1.PowerModel{Spec: v1alpha1.PowerModelSpec{JSON: string(text), Nodes: []string{n}}}
			m.Name = "peaks-" + n
			models = append(models, m)
		}
		p.last.Store(&a)
		return models, nil
	}
	return nil, errors.Join(append(errs, fmt.Errorf("PEAKS: %s holds no power model", p.from))...)
}

var errPeaksNotRead = errors.New("PEAKS' power models are not read yet")

// Want implements [controllers.Maker]: nodes with a power model are read from PEAKS' load-watcher, where it has one. Until that could be
// read once, what there is stays.
func (p *Peaks) Want(ctx context.Context, c client.Reader, n *v1.Node) (*controllers.Wanted, error) {
	a := p.last.Load()
	if a == nil {
		if held, err := controllers.Made(ctx, c, p.Name(), n); !held || err != nil {
			return nil, err
		}
		return &controllers.Wanted{By: p.Name(), Err: errPeaksNotRead}, nil
	}
	if a.WatcherAddress == "" {
		return nil, nil
	}
	if _, ok := a.NodePowerModel[n.Name]; !ok {
		return nil, nil
	}
	w := &controllers.Wanted{By: p.Name()}
	w.Profile.Spec.Sensors = []v1alpha1.Sensor{{Type: "load-watcher", URL: strings.TrimSuffix(a.WatcherAddress, "/")}}
	return w, nil
}
