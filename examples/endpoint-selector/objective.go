package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/leastwatt/leastwatt/k8s/endpoints"
	"github.com/leastwatt/leastwatt/scoring"
	"github.com/leastwatt/leastwatt/scoring/config"
	"github.com/leastwatt/leastwatt/sensors/grid"
)

// zoneLabel is the label of a node that names the zone of its electricity.
const zoneLabel = "leastwatt.github.io/grid-zone"

// objectiveFlags say what is to be least.
type objectiveFlags struct {
	unit, intensity, price, rates string
	carbonPrice                   float64
}

// configured returns what a watt costs at a node by the sources of a site's file, whose meters the site keeps; nil where watts count.
func (o *objectiveFlags) configured(c *config.Config) (func(*scoring.Node) (float64, error), error) {
	objective, ok := c.NewScorer().(scoring.Objective)
	if o.carbonPrice != 0 {
		objective.CarbonPrice = o.carbonPrice
	}
	switch o.unit {
	case "grams":
		objective.Unit = scoring.GramsPerHour
	case "money":
		objective.Unit = scoring.MoneyPerHour
	case "":
	default:
		return nil, fmt.Errorf("-objective %q: want watts, grams or money", o.unit)
	}
	if !ok && o.unit == "" {
		return nil, nil
	}
	grams := objective.Unit == scoring.GramsPerHour || objective.Unit == scoring.MoneyPerHour && objective.CarbonPrice != 0
	if grams && c.Grid.Intensity == nil || objective.Unit == scoring.MoneyPerHour && c.Grid.Price == nil {
		return nil, fmt.Errorf("-objective=%s needs -intensity or -price, or sources in the section objective of -config", o.unit)
	}
	return objective.PerWatt, nil
}

// perWatt returns what a watt costs at a node, from files read once or else by the sources of a site's file, which may be nil; nil where watts count.
func (o *objectiveFlags) perWatt(z *zones, site *config.Config) (func(*scoring.Node) (float64, error), error) {
	if site != nil && o.intensity == "" && o.price == "" && o.unit != "watts" {
		return o.configured(site)
	}
	rates, err := grid.ParseRates(o.rates)
	if err != nil {
		return nil, fmt.Errorf("-exchange-rates: %w", err)
	}
	objective := scoring.Objective{CarbonPrice: o.carbonPrice}
	switch o.unit {
	case "watts", "":
		return nil, nil
	case "grams":
		objective.Unit = scoring.GramsPerHour
		if o.intensity == "" {
			return nil, errors.New("-objective=grams needs -intensity")
		}
	case "money":
		objective.Unit = scoring.MoneyPerHour
		if o.price == "" {
			return nil, errors.New("-objective=money needs -price")
		}
		if o.carbonPrice != 0 && o.intensity == "" {
			return nil, errors.New("-carbon-price needs -intensity")
		}
	default:
		return nil, fmt.Errorf("-objective %q: want watts, grams or money", o.unit)
	}
	intensity, err := readGrid(o.intensity, grid.AverageLifeCycle, nil)
	if err != nil {
		return nil, err
	}
	price, err := readGrid(o.price, grid.Price, rates)
	if err != nil {
		return nil, err
	}
	objective.Tariff = func(n *scoring.Node) scoring.Tariff {
		var t scoring.Tariff
		zone := z.of(n.Name)
		if zone == "" {
			t.Err = fmt.Errorf("no label %s", zoneLabel)
			return t
		}
		for _, x := range []struct {
			series *grid.Series
			to     *float64
		}{{intensity, &t.Intensity}, {price, &t.Price}} {
			if x.series == nil {
				continue
			}
			p, err := x.series.Current(context.Background(), zone) // from memory
			if err != nil {
				t.Err = err
				return t
			}
			*x.to = p.Value
		}
		return t
	}
	return objective.PerWatt, nil
}

// readGrid reads a table of a signal, prices in one currency; nil without a file.
func readGrid(path string, signal grid.Signal, rates grid.Rates) (*grid.Series, error) {
	if path == "" {
		return nil, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	points, err := grid.ReadCSV(f, grid.CSVOptions{Name: filepath.Base(path), Signal: signal})
	if err != nil {
		return nil, err
	}
	if signal == grid.Price && len(points) > 0 {
		to := points[0].Currency
		if len(rates) > 0 {
			to = "the currency of the rates"
		}
		if err := rates.Convert(points, to); err != nil {
			return nil, fmt.Errorf("%s: %w (-exchange-rates)", path, err)
		}
	}
	return grid.NewSeries(signal, points, nil)
}

// zones remembers the zone of each node.
type zones struct {
	endpoints.Machines
	m sync.Map // node -> zone
}

// beside returns what tells both the zones and m of the cluster's machines.
func (z *zones) beside(m endpoints.Machines) endpoints.Machines {
	z.Machines = m
	return z
}

// Put implements endpoints.Machines.
func (z *zones) Put(m scoring.Machine) {
	z.m.Store(m.Name, m.Labels[zoneLabel])
	z.Machines.Put(m)
}

// Remove implements endpoints.Machines.
func (z *zones) Remove(name string) {
	z.m.Delete(name)
	z.Machines.Remove(name)
}

func (z *zones) of(node string) string {
	zone, _ := z.m.Load(node)
	s, _ := zone.(string)
	return s
}
