package power

import (
	"bufio"
	_ "embed" // the table of published figures
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// ServersSource is where the figures of every [Server] were published. SPEC endorses neither this project
// nor what it derives from them.
const ServersSource = "SPECpower_ssj2008 results, Standard Performance Evaluation Corporation (SPEC), https://www.spec.org/power_ssj2008/results/power_ssj2008.html"

// ReferenceThroughput is the throughput of the reference core in ssj_ops per second and hardware thread: the
// median at full load over 141 SPECpower_ssj2008 results of hardware from 2017 to 2022 (source:
// [ServersSource]). A core of this throughput has speed 1.
const ReferenceThroughput = 49_800

// A Server is one server's published SPECpower_ssj2008 figures.
type Server struct {
	Vendor, Model, CPU string
	Year               int // hardware availability
	Chips              int // of all sockets
	Cores              int // of all chips
	Threads            int // hardware threads: the CPUs that an operating system counts
	MHz                float64
	MemoryGB           float64
	Published          string      // date of publication, YYYY-MM-DD
	Watts              [11]Watts   // AC power at active idle and at 10, 20 … 100 % target load
	Ops                [10]float64 // throughput in ssj_ops per second at 10, 20 … 100 % target load
}

// Name is vendor and model, by which [FindServer] knows the server.
func (s *Server) Name() string { return s.Vendor + " " + s.Model }

// Source tells where the figures are from.
func (s *Server) Source() string { return "published " + s.Published + ": " + ServersSource }

// Curve returns the server's power over utilization.
func (s *Server) Curve() *Piecewise {
	knots := make([]Knot, len(s.Watts))
	for i, w := range s.Watts {
		knots[i] = Knot{Utilization: float64(i) / 10, Watts: w}
	}
	return build(knots) // parseServers has seen that they are valid
}

// Speed returns the throughput of one hardware thread at full load over that of the reference core.
func (s *Server) Speed() float64 { return Speed(s.Ops[9], s.Threads) }

// Capacity returns the server's hardware threads and their speed.
func (s *Server) Capacity() Capacity {
	return Capacity{Cores: float64(s.Threads), Speed: s.Speed()}
}

// Speed returns the speed per core of a machine whose published throughput at full load is ssjOps per
// second over all its hardware threads, for use in [Capacity]. Unknown or senseless figures give 0, which
// means unknown.
func Speed(ssjOps float64, threads int) float64 {
	if !(ssjOps > 0 && ssjOps < 1e15) || threads <= 0 {
		return 0
	}
	return ssjOps / float64(threads) / ReferenceThroughput
}

//go:embed servers.tsv
var serversTable string

var embedded = sync.OnceValue(func() []Server {
	s, err := parseServers(strings.NewReader(serversTable))
	if err != nil {
		panic("power: embedded servers.tsv: " + err.Error()) // a test reads it
	}
	return s
})

// Servers returns the embedded servers, by year, vendor and model. The slice is the caller's.
func Servers() []Server { return slices.Clone(embedded()) }

// FindServer returns the embedded server of a name, which is vendor and model or, where only one vendor has
// it, the model alone. Case and repeated spaces do not matter.
func FindServer(name string) (Server, error) {
	want := fold(name)
	found := -1
	for i, s := range folded() {
		if s[0] == want {
			return embedded()[i], nil
		}
		if s[1] == want {
			if found >= 0 {
				return Server{}, fmt.Errorf("server %q: more than one vendor has it: name the vendor too", name)
			}
			found = i
		}
	}
	if found < 0 {
		return Server{}, fmt.Errorf("server %q is not in the table of published servers: %w", name, ErrNoModel)
	}
	return embedded()[found], nil
}

// folded are the folded names and models of the embedded servers.
var folded = sync.OnceValue(func() [][2]string {
	all := make([][2]string, len(embedded()))
	for i := range all {
		s := &embedded()[i]
		all[i] = [2]string{fold(s.Name()), fold(s.Model)}
	}
	return all
})

func fold(name string) string { return strings.ToLower(strings.Join(strings.Fields(name), " ")) }

// parseServers reads the format of servers.tsv.
func parseServers(r io.Reader) ([]Server, error) {
	var out []Server
	sc := bufio.NewScanner(r)
	for line := 1; sc.Scan(); line++ {
		text := sc.Text()
		if text == "" || text[0] == '#' {
			continue
		}
		s, err := parseServer(text)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", line, err)
		}
		out = append(out, s)
	}
	return out, sc.Err()
}

func parseServer(text string) (Server, error) {
	f := strings.Split(text, "\t")
	if len(f) != 12 {
		return Server{}, fmt.Errorf("%d fields: want 12", len(f))
	}
	s := Server{Vendor: f[0], Model: f[1], CPU: f[2], Published: f[9]}
	for i, dst := range []*int{&s.Year, &s.Chips, &s.Cores, &s.Threads} {
		n, err := strconv.Atoi(f[3+i])
		if err != nil || n <= 0 {
			return Server{}, fmt.Errorf("field %d: %q is not a positive integer", 4+i, f[3+i])
		}
		*dst = n
	}
	for i, dst := range []*float64{&s.MHz, &s.MemoryGB} {
		var err error
		if *dst, err = positive(f[7+i]); err != nil {
			return Server{}, fmt.Errorf("field %d: %w", 8+i, err)
		}
	}
	watts, ops := strings.Fields(f[10]), strings.Fields(f[11])
	if len(watts) != len(s.Watts) || len(ops) != len(s.Ops) {
		return Server{}, fmt.Errorf("%d watts and %d throughputs: want %d and %d", len(watts), len(ops), len(s.Watts), len(s.Ops))
	}
	for i, t := range watts {
		w, err := positive(t)
		if err != nil {
			return Server{}, fmt.Errorf("watts %d: %w", i, err)
		}
		s.Watts[i] = Watts(w)
	}
	for i, t := range ops {
		var err error
		if s.Ops[i], err = positive(t); err != nil {
			return Server{}, fmt.Errorf("throughput %d: %w", i, err)
		}
	}
	return s, nil
}

func positive(text string) (float64, error) {
	v, err := strconv.ParseFloat(text, 64)
	if err != nil || !(v > 0 && v < 1e15) {
		return 0, fmt.Errorf("%q is not a positive number", text)
	}
	return v, nil
}
