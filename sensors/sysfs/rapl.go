package sysfs

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/leastwatt/leastwatt/sensors"
	"github.com/leastwatt/leastwatt/sensors/internal/scrape"
)

// A counter makes one zone's counter, which wraps around, one that does not.
type counter struct {
	last   int64 // µJ, as read
	total  float64
	resets int
}

// advance takes a new reading in. A fall from the upper half of the range is a wrap; any other is a reset,
// after which the total goes on from where it was.
func (c *counter) advance(now, limit int64) {
	switch {
	case now >= c.last:
		c.total += float64(now - c.last)
	case limit > 0 && c.last <= limit && c.last > limit/2:
		c.total += float64(limit-c.last) + float64(now)
	default:
		c.resets++
	}
	c.last = now
}

const powercap = "class/powercap"

// rapl adds up the zones: psys, which holds everything, where there is one; else packages and their memory.
// Core and uncore lie within the package. The mirror of the package in intel-rapl-mmio is not counted again.
func (s *Source) rapl(root fs.FS, r *scrape.Result) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var psys, parts float64
	var bad error
	hasPsys, packages, resets := false, 0, 0
	for _, zone := range entries(root, powercap) {
		if !strings.HasPrefix(zone, "intel-rapl:") { // AMD's are named so too
			continue
		}
		dir := powercap + "/" + zone + "/"
		kind, err := text(root, dir+"name")
		if err != nil {
			bad = errors.Join(bad, err)
			continue
		}
		isPackage, isPsys := strings.HasPrefix(kind, "package"), strings.HasPrefix(kind, "psys")
		if !isPackage && !isPsys && kind != "dram" {
			continue
		}
		uj, err := number(root, dir+"energy_uj")
		if err == nil && uj < 0 {
			err = fmt.Errorf("%w: %s is %d µJ", sensors.ErrImplausible, zone, uj)
		}
		if err != nil {
			bad = errors.Join(bad, fmt.Errorf("RAPL zone %s: %w", kind, err))
			continue
		}
		limit, _ := number(root, dir+"max_energy_range_uj")
		c := s.zones[zone]
		if c == nil {
			c = &counter{last: uj, total: float64(uj)}
			s.zones[zone] = c
		}
		c.advance(uj, limit)
		resets += c.resets
		if isPsys {
			psys, hasPsys = psys+c.total, true
			continue
		}
		parts += c.total
		if isPackage {
			packages++
		}
	}
	switch {
	case bad != nil && !hasPsys: // a sum needs all its parts
		r.Fail(sensors.CPUPower, bad)
	case hasPsys:
		s.energy(r, psys/1e6, resets, "RAPL psys")
	case packages > 0:
		s.energy(r, parts/1e6, resets, "RAPL package+dram")
	}
}

func (s *Source) energy(r *scrape.Result, joules float64, resets int, view string) {
	r.Add(sensors.CPUEnergy, joules, time.Time{}, view)
	key := fmt.Sprintf("%s/%d", view, resets) // the interval that holds a reset has no rate
	if watts, end, ok := s.rates.Per(key, joules, r.At); ok {
		r.Add(sensors.CPUPower, watts, end, view)
	}
}
