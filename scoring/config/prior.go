package config

import (
	"math"
	"strings"

	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/power/prior"
	"github.com/leastwatt/leastwatt/scoring"
)

// CPULabel is the label by which a machine says which CPU it has, where a model does not name another one.
// Underscores stand for spaces.
const CPULabel = "leastwatt.github.io/cpu"

// A guess is what a file says of the hardware of machines that have no model.
type guess struct {
	hardware prior.Hardware
	cpuLabel string
	learn    bool
	folder   string // of what was learned; empty keeps nothing over a restart
}

func (m *Model) readGuess(s *section) {
	count := func(field string, high float64) int {
		v := s.number(field, 0, high, 0)
		if v != math.Trunc(v) {
			s.fail(field, "is %v: want a whole number", v)
		}
		return int(v)
	}
	m.guess = &guess{cpuLabel: s.text("cpuLabel", CPULabel), learn: s.flag("learn", false), folder: s.text("folder", ""),
		hardware: prior.Hardware{System: s.text("system", ""), CPU: s.text("cpu", ""), Year: count("year", 3000), Chips: count("chips", 64),
			Cores: count("cores", 1e5), Threads: count("threads", 1e5), TDP: power.Watts(s.number("tdpWatts", 0, 1e4, 0)),
			MemoryGB: s.number("memoryGB", 0, 1e6, 0)}}
	if m.guess.folder != "" {
		if !m.guess.learn {
			s.fail("folder", "is where learned models are kept: want learn: true beside it")
		}
		m.guess.folder = s.doc.relative(m.guess.folder)
	}
}

// of returns what is known of a machine's hardware: what the file says, else what the machine's labels say, and
// as many threads as its operating system counts CPUs.
func (g *guess) of(m scoring.Machine, hardwareLabel string) prior.Hardware {
	h := g.hardware
	if h.CPU == "" {
		h.CPU = strings.ReplaceAll(m.Labels[g.cpuLabel], "_", " ")
	}
	if h.System == "" {
		h.System = strings.ReplaceAll(m.Labels[hardwareLabel], "_", " ")
	}
	if h.Threads == 0 && m.Cores >= 1 && m.Cores <= 1e5 && m.Cores == math.Trunc(m.Cores) {
		h.Threads = int(m.Cores)
	}
	if s, err := findServer(h.System); err == nil {
		h.System = s.Name()
		if h.CPU == "" {
			h.CPU = s.CPU
		}
	} else if h.CPU == "" {
		h.CPU = h.System // some label a machine with its CPU
	}
	return h
}

// bindPrior never lacks a model: at worst it is the statistics of all published servers.
func (x *Model) bindPrior(m scoring.Machine, spec *scoring.Spec) error {
	match, err := prior.Default().Match(x.guess.of(m, x.HardwareLabel), power.Servers())
	if err != nil {
		return err
	}
	g, err := match.Guess()
	if err != nil {
		return err
	}
	if spec.Predictor, err = x.respond(g); err != nil {
		return err
	}
	spec.Model = x.Name + ": " + match.Source
	if x.Speed == 0 && (match.By == "system" || match.By == "cpu") {
		if s, err := power.FindServer(match.Servers[0]); err == nil {
			spec.Capacity.Speed = s.Speed()
		}
	}
	return nil
}
