package trace

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/scoring"
	"github.com/leastwatt/leastwatt/scoring/batch"
	"github.com/leastwatt/leastwatt/scoring/simulate"
)

// OpenbNodes reads openb's node list: sn,cpu_milli,memory_mib,gpu,model. Names must differ. The nodes have no power model; the caller gives them one.
func OpenbNodes(file string, r io.Reader) ([]simulate.Node, error) {
	t, err := openTable(file, r, 0)
	if err != nil {
		return nil, err
	}
	var out []simulate.Node
	if len(t.at) == 0 {
		return nil, nil
	}
	if err := t.need("sn", "cpu_milli", "memory_mib", "gpu"); err != nil {
		return nil, err
	}
	names := map[string]bool{}
	for {
		more, err := t.next()
		if err != nil || !more {
			return out, err
		}
		name := strings.Clone(t.text("sn"))
		if names[name] {
			return nil, t.wrong("sn", fmt.Errorf("node %q is listed twice", name))
		}
		names[name] = true
		var v [3]float64
		for i, name := range []string{"cpu_milli", "memory_mib", "gpu"} {
			if v[i], err = t.num(name, false); err != nil {
				return nil, err
			}
			if v[i] < 0 || v[i] > 1e12 {
				return nil, t.wrong(name, fmt.Errorf("%v: %w", v[i], errRange))
			}
		}
		out = append(out, simulate.Node{Node: batch.Node{
			Node:        scoring.Node{Name: name, Capacity: power.Capacity{Cores: v[0] / 1000}},
			Allocatable: batch.Resources{CPU: v[0] / 1000, Memory: v[1] * (1 << 20), GPU: v[2]},
		}})
		if len(out) > MaxRows {
			return nil, &Error{file, t.line, 0, errTooMany}
		}
	}
}

// A KubeEnergyNode is a row of KubeEnergyScheduler's node file: name,cpu,mem,ci_profile[,site_id[,peak_power_w]]. A header may name the columns in another
// order and leave out ci_profile, for who has the site's intensity from elsewhere.
type KubeEnergyNode struct {
	Name      string
	Cores     float64
	Memory    float64   // bytes
	Intensity Intensity // zero where the file has none
	Site      string
	PeakWatts float64 // 0 where the file has none
}

// Model returns the power that KubeEnergyScheduler assumes: peak·(0.15 + 0.85·utilization).
func (n *KubeEnergyNode) Model() (*power.Piecewise, error) {
	return power.EvenPiecewise(power.Watts(0.15*n.PeakWatts), power.Watts(n.PeakWatts))
}

// mostOfNode is beyond any node's cores, GiB and watts.
const mostOfNode = 1e12

// KubeEnergyNodes reads KubeEnergyScheduler's node file, with or without its header. Names must differ.
func KubeEnergyNodes(file string, r io.Reader) ([]KubeEnergyNode, error) {
	var out []KubeEnergyNode
	names := map[string]bool{}
	columns := layout{columns: []string{"name", "cpu", "mem", "ci_profile", "site_id", "peak_power_w"}, need: 4, spare: []string{"ci_profile"}}
	err := rowsOf(file, r, columns, func(fail func(int, error) error, f []string) error {
		n := KubeEnergyNode{Name: f[0], Site: f[4]}
		if n.Name == "" {
			return fail(0, errors.New("the node has no name"))
		}
		if names[n.Name] {
			return fail(0, fmt.Errorf("node %q is listed twice", n.Name))
		}
		names[n.Name] = true
		var err error
		if n.Cores, err = number(f[1]); err != nil || n.Cores < 0 || n.Cores > mostOfNode {
			return fail(1, fmt.Errorf("cpu %q: want cores", f[1]))
		}
		if n.Memory, err = number(f[2]); err != nil || n.Memory < 0 || n.Memory > mostOfNode {
			return fail(2, fmt.Errorf("mem %q: want GiB", f[2]))
		}
		n.Memory *= 1 << 30
		if f[3] != "" {
			if n.Intensity, err = ParseIntensity(f[3]); err != nil {
				return fail(3, err)
			}
		}
		if f[5] != "" {
			if n.PeakWatts, err = number(f[5]); err != nil || n.PeakWatts < 0 || n.PeakWatts > mostOfNode {
				return fail(5, fmt.Errorf("peak_power_w %q: want watts", f[5]))
			}
		}
		out = append(out, n)
		return nil
	})
	return out, err
}

// A KubeEnergySite is a row of KubeEnergyScheduler's site file: id,PUE,k,ci_region. K multiplies a job's carbon.
type KubeEnergySite struct {
	ID     string
	PUE, K float64
	Region string
}

// KubeEnergySites reads KubeEnergyScheduler's site file, with or without its header. Ids must differ.
func KubeEnergySites(file string, r io.Reader) ([]KubeEnergySite, error) {
	var out []KubeEnergySite
	ids := map[string]bool{}
	err := rowsOf(file, r, layout{columns: []string{"id", "pue", "k", "ci_region"}, need: 4}, func(fail func(int, error) error, f []string) error {
		s := KubeEnergySite{ID: f[0], Region: f[3]}
		if s.ID == "" {
			return fail(0, errors.New("the site has no id"))
		}
		if ids[s.ID] {
			return fail(0, fmt.Errorf("site %q is listed twice", s.ID))
		}
		ids[s.ID] = true
		var err error
		if s.PUE, err = number(f[1]); err != nil || s.PUE < 1 {
			return fail(1, fmt.Errorf("PUE %q: want 1 or more", f[1]))
		}
		if s.K, err = number(f[2]); err != nil || s.K < 0 {
			return fail(2, fmt.Errorf("k %q: want 0 or more", f[2]))
		}
		out = append(out, s)
		return nil
	})
	return out, err
}
