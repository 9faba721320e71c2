package config

import (
	"cmp"
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

func (m *Model) prior(p *place, s *priorSection) {
	m.Prior = true
	m.guess = &guess{cpuLabel: cmp.Or(s.CPULabel, CPULabel), learn: s.Learn, folder: p.doc.relative(s.Folder),
		hardware: prior.Hardware{System: s.System, CPU: s.CPU, Year: s.Year, Chips: s.Chips, Cores: s.Cores, Threads: s.Threads,
			TDP: power.Watts(s.TDPWatts), MemoryGB: s.MemoryGB}}
	if s.Folder != "" && !s.Learn {
		p.fail("folder", "is where learned models are kept: want learn: true beside it")
	}
}

// of returns what is known of a machine's hardware: what the file says, else what the machine's labels say, else what
// its BMC tells, and as many threads as its operating system counts CPUs.
func (g *guess) of(m scoring.Machine, hardwareLabel string) prior.Hardware {
	h, told := g.hardware, m.Hardware
	h.CPU = cmp.Or(h.CPU, strings.ReplaceAll(m.Labels[g.cpuLabel], "_", " "), told.CPU)
	h.System = cmp.Or(h.System, strings.ReplaceAll(m.Labels[hardwareLabel], "_", " "), told.System)
	if m.Cores >= 1 && m.Cores <= 1e5 && m.Cores == math.Trunc(m.Cores) {
		h.Threads = cmp.Or(h.Threads, int(m.Cores))
	}
	h.Chips, h.Cores, h.Threads = cmp.Or(h.Chips, told.Chips), cmp.Or(h.Cores, told.Cores), cmp.Or(h.Threads, told.Threads)
	h.MemoryGB = cmp.Or(h.MemoryGB, told.MemoryGB)
	s, err := findServer(h.System)
	if err != nil {
		if same, ok := publishedSystem(h.System); ok {
			s, err = same, nil
		}
	}
	if err == nil {
		h.System = s.Name()
		h.CPU = cmp.Or(h.CPU, s.CPU)
	} else if h.CPU == "" {
		h.CPU = h.System // some label a machine with its CPU
	}
	return h
}

// bindPrior never lacks a model: at worst it is the statistics of all published servers.
func (x *Model) bindPrior(m scoring.Machine, spec *scoring.Spec) error {
	match, err := prior.Default().Match(x.guess.of(m, x.HardwareLabel), published())
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
