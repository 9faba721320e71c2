package main

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"

	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/scoring"
	"github.com/leastwatt/leastwatt/scoring/batch"
	"github.com/leastwatt/leastwatt/scoring/simulate"
	"github.com/leastwatt/leastwatt/scoring/simulate/trace"
)

// machine is a type of server that the cluster is drawn from.
type machine struct {
	cores float64
	curve *power.Piecewise
}

// counted splits -nodes into what servers are drawn from and how many; 0 is all.
func counted(spec string) (from string, count int, err error) {
	at := strings.LastIndexByte(spec, ':')
	if at < 0 {
		return spec, 0, nil
	}
	n, err := strconv.Atoi(spec[at+1:])
	if err != nil {
		return spec, 0, nil // a colon of the file's name
	}
	if n < 1 || n > 1_000_000 {
		return "", 0, fmt.Errorf("-nodes %s: want 1 to 1000000 servers", spec)
	}
	return spec[:at], n, nil
}

// embeddedNodes names, in -nodes, the published servers that the program brings.
const embeddedNodes = "embedded"

// loadNodes makes the cluster of -nodes.
func loadNodes(o *options, seed uint64) ([]simulate.Node, error) {
	spec, count, err := counted(o.nodes)
	if err != nil {
		return nil, err
	}
	rnd := rand.New(rand.NewPCG(seed, 0x6e6f646573))
	if spec == embeddedNodes {
		return draw(embeddedMachines(), max(count, 1), rnd, o), nil
	}
	data, err := os.ReadFile(spec)
	if err != nil {
		return nil, err
	}
	head, _, _ := bytes.Cut(data, []byte("\n"))
	switch {
	case bytes.Contains(head, []byte("w_idle")):
		m, err := specMachines(spec, data)
		if err != nil {
			return nil, err
		}
		if count == 0 {
			count = len(m)
		}
		return draw(m, count, rnd, o), nil
	case bytes.HasPrefix(head, []byte("sn,")):
		nodes, err := trace.OpenbNodes(spec, bytes.NewReader(data))
		if err != nil {
			return nil, err
		}
		// openb tells no power: each node gets the embedded curve whose core count is nearest.
		for i := range nodes {
			n := &nodes[i]
			n.Predictor = nearest(embeddedMachines(), n.Capacity.Cores, rnd).curve
			finish(n, o)
		}
		return sample(nodes, count, rnd), nil
	}
	rows, err := trace.KubeEnergyNodes(spec, bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	var nodes []simulate.Node
	for _, k := range rows {
		var n simulate.Node
		n.Name, n.Site, n.Capacity = k.Name, k.Site, power.Capacity{Cores: k.Cores}
		if id, ok := o.profiled[[2]string{k.Site, k.Intensity.String()}]; ok {
			n.Site = id
		}
		n.Allocatable = batch.Resources{CPU: k.Cores, Memory: k.Memory}
		if k.PeakWatts > 0 {
			if n.Predictor, err = k.Model(); err != nil {
				return nil, err
			}
		} else {
			n.Predictor = nearest(embeddedMachines(), k.Cores, rnd).curve
		}
		finish(&n, o)
		nodes = append(nodes, n)
	}
	if len(nodes) == 0 {
		return nil, fmt.Errorf("%s: no servers", spec)
	}
	return sample(nodes, count, rnd), nil
}

func sample(nodes []simulate.Node, count int, rnd *rand.Rand) []simulate.Node {
	if count == 0 || count >= len(nodes) {
		return nodes
	}
	rnd.Shuffle(len(nodes), func(i, j int) { nodes[i], nodes[j] = nodes[j], nodes[i] })
	return nodes[:count]
}

// embeddedMachines are the published servers from 2012 on with 16 to 224 cores.
func embeddedMachines() []machine {
	var out []machine
	for _, s := range power.Servers() {
		if s.Year >= 2012 && s.Cores >= 16 && s.Cores <= 224 {
			out = append(out, machine{float64(s.Cores), s.Curve()})
		}
	}
	return out
}

// specMachines reads a CSV with the columns cores, hw_year and w_idle, w_10 … w_100; the same servers count as of the table.
func specMachines(file string, data []byte) ([]machine, error) {
	r := csv.NewReader(bytes.NewReader(data))
	head, err := r.Read()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	at := map[string]int{}
	for i, h := range head {
		at[h] = i
	}
	columns := []string{"cores", "hw_year", "w_idle"}
	for p := 10; p <= 100; p += 10 {
		columns = append(columns, fmt.Sprintf("w_%d", p))
	}
	for _, c := range columns {
		if _, ok := at[c]; !ok {
			return nil, fmt.Errorf("%s:1: no column %q", file, c)
		}
	}
	var out []machine
	for {
		row, err := r.Read()
		if row == nil {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		var v []float64
		for _, c := range columns {
			line, col := r.FieldPos(at[c])
			x, err := strconv.ParseFloat(row[at[c]], 64)
			if err != nil {
				return nil, fmt.Errorf("%s:%d:%d: %s %q is not a number", file, line, col, c, row[at[c]])
			}
			v = append(v, x)
		}
		if v[0] < 16 || v[0] > 224 || v[1] < 2012 {
			continue
		}
		watts := make([]power.Watts, 11)
		for i := range watts {
			watts[i] = power.Watts(v[2+i])
		}
		c, err := power.EvenPiecewise(watts...)
		if err != nil {
			line, _ := r.FieldPos(0)
			return nil, fmt.Errorf("%s:%d: %w", file, line, err)
		}
		out = append(out, machine{v[0], c})
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%s: no server from 2012 on with 16 to 224 cores", file)
	}
	return out, nil
}

func draw(from []machine, n int, rnd *rand.Rand, o *options) []simulate.Node {
	nodes := make([]simulate.Node, n)
	for i := range nodes {
		m := from[rnd.IntN(len(from))]
		memory := o.memory
		if memory == 0 {
			memory = 1 << 20 // a PiB a core: no limit
		}
		nodes[i].Node = batch.Node{
			Node:        scoring.Node{Name: fmt.Sprintf("server-%04d", i+1), Capacity: power.Capacity{Cores: m.cores}, Predictor: m.curve},
			Allocatable: batch.Resources{CPU: m.cores, Memory: m.cores * memory * (1 << 30), GPU: o.gpus},
		}
		finish(&nodes[i], o)
	}
	return nodes
}

func finish(n *simulate.Node, o *options) { n.Wake = o.wake }

func nearest(from []machine, cores float64, rnd *rand.Rand) machine {
	best := from[0]
	ties := 1
	for _, m := range from[1:] {
		switch a, b := math.Abs(m.cores-cores), math.Abs(best.cores-cores); {
		case a < b:
			best, ties = m, 1
		case a == b:
			if ties++; rnd.IntN(ties) == 0 {
				best = m
			}
		}
	}
	return best
}
