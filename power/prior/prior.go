package prior

import (
	"bytes"
	_ "embed" // the fitted prior
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"sync"
)

// Format names the file format of [Parse] and [Prior.MarshalJSON].
const Format = "leastwatt-prior/1"

// maxFile bounds a prior's file.
const maxFile = 4 << 20

// A Prior is what published curves tell of a server that was never measured. It is immutable and safe for
// concurrent use.
type Prior struct {
	source string
	count  int
	first  int                      // year of years[0]
	years  []gaussian               // a year each
	any    gaussian                 // year unknown
	spread [1 << attributes]float64 // by mask of what is known
	kin    Kinship
	series map[string]series
}

// Kinship is how far curves of related servers agree once year, size and data sheet are accounted for: the
// correlation of what is left of the logarithms of their watts, 0 to 1.
type Kinship struct {
	System float64 `json:"system"` // the same model of server with the same CPU
	CPU    float64 `json:"cpu"`    // the same CPU
	Series float64 `json:"series"` // the same generation of CPU
}

// A series is what the name of a CPU tells beside its own curve.
type series struct {
	Year       float64 `json:"year"` // mean year of hardware
	CoresLog   float64 `json:"cores_log"`
	CoresSD    float64 `json:"cores_sd"` // of the logarithm of cores a chip
	TDPLog     float64 `json:"tdp_log"`
	TDPSD      float64 `json:"tdp_sd"` // of the logarithm of a chip's TDP in watts
	ServerSeen int     `json:"servers"`
}

//go:embed prior.json
var fitted []byte

var standard = sync.OnceValue(func() *Prior {
	p, err := Parse(bytes.NewReader(fitted))
	if err != nil {
		panic("prior: embedded prior.json: " + err.Error()) // a test reads it
	}
	return p
})

// Default returns the prior that is embedded in the package.
func Default() *Prior { return standard() }

// Source tells what the prior was fitted on.
func (p *Prior) Source() string { return p.source }

// Servers returns the number of curves that the prior was fitted on.
func (p *Prior) Servers() int { return p.count }

// Kinship returns how far curves of related servers agree.
func (p *Prior) Kinship() Kinship { return p.kin }

// Years returns the first and the last year of hardware that the prior knows. Older and newer servers are
// taken for these.
func (p *Prior) Years() (first, last int) { return p.first, p.first + len(p.years) - 1 }

// Belief returns what is thought of the curve of a server of which only h is known. An invalid h is the
// error; an empty one gives the widest belief.
func (p *Prior) Belief(h Hardware) (Belief, error) {
	if err := h.Validate(); err != nil {
		return Belief{}, err
	}
	g := p.given(&h)
	b := Belief{Source: p.source, Spread: p.spread[h.mask()]}
	for i := range b.Log {
		b.Log[i] = g.mean[i]
		copy(b.Covariance[i][:], g.cov[i][:Points])
	}
	return b, nil
}

// Noise of an attribute's logarithm: a data sheet is exact, but rounding and options are not.
const attributeVariance = 1e-3

// given returns the joint belief after what is known of h.
func (p *Prior) given(h *Hardware) gaussian {
	s, named := p.series[cpuSeries(h.CPU)]
	year := h.Year
	if year == 0 && named {
		year = int(math.Round(s.Year))
	}
	g := p.any
	if year != 0 {
		g = p.years[min(max(year-p.first, 0), len(p.years)-1)]
	}
	a := h.attributes()
	for i, v := range a {
		if v == v {
			var along [dims]float64
			along[Points+i] = 1
			g.observe(&along, v, attributeVariance)
		}
	}
	if named && h.Cores == 0 && h.Threads == 0 {
		var along [dims]float64
		along[Points], along[Points+1] = -1, 1 // cores a chip
		g.observe(&along, s.CoresLog, s.CoresSD*s.CoresSD+attributeVariance)
	}
	if named && h.TDP == 0 {
		var along [dims]float64
		along[Points+3] = 1
		g.observe(&along, s.TDPLog, s.TDPSD*s.TDPSD+attributeVariance)
	}
	return g
}

// The file format. Numbers are logarithms of watts, and of chips, cores, threads, TDP of a chip in watts and
// memory in GB; covariances are lower triangles, row by row.
type file struct {
	Format  string            `json:"format"`
	Source  string            `json:"source"`
	Servers int               `json:"servers"`
	Kinship Kinship           `json:"kinship"`
	Spread  []float64         `json:"spread"`
	Any     moment            `json:"any"`
	Years   []moment          `json:"years"`
	Series  map[string]series `json:"series"`
}

type moment struct {
	Year       int       `json:"year,omitzero"`
	Mean       []float64 `json:"mean"`
	Covariance []float64 `json:"covariance"`
}

// MarshalJSON returns the prior in the format of [Parse].
func (p *Prior) MarshalJSON() ([]byte, error) {
	f := file{Format: Format, Source: p.source, Servers: p.count, Kinship: p.kin, Spread: p.spread[:], Any: p.any.moment(0), Series: p.series}
	for i := range p.years {
		f.Years = append(f.Years, p.years[i].moment(p.first+i))
	}
	return json.Marshal(f)
}

func (g *gaussian) moment(year int) moment {
	m := moment{Year: year, Mean: g.mean[:]}
	for i := range g.cov {
		m.Covariance = append(m.Covariance, g.cov[i][:i+1]...)
	}
	return m
}

// Parse reads a prior of at most 4 MiB. A field that is unknown, missing or makes no sense is an error that
// names it.
func Parse(r io.Reader) (*Prior, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxFile {
		return nil, fmt.Errorf("prior: more than %d bytes", maxFile)
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	var f file
	if err := d.Decode(&f); err != nil {
		return nil, fmt.Errorf("prior: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("prior: something follows the object")
	}
	return f.prior()
}

func (f *file) prior() (*Prior, error) {
	if f.Format != Format {
		return nil, fmt.Errorf("prior: format is %q: want %q", f.Format, Format)
	}
	p := &Prior{source: f.Source, count: f.Servers, kin: f.Kinship, series: f.Series}
	for name, v := range map[string]float64{"system": f.Kinship.System, "cpu": f.Kinship.CPU, "series": f.Kinship.Series} {
		if !(v >= 0 && v < 1) {
			return nil, fmt.Errorf("prior: kinship: %s is %v: want 0 or more and under 1", name, v)
		}
	}
	if len(f.Spread) != len(p.spread) {
		return nil, fmt.Errorf("prior: spread has %d numbers: want %d", len(f.Spread), len(p.spread))
	}
	copy(p.spread[:], f.Spread)
	for i, s := range f.Spread {
		if !(s > 0 && s <= 100) {
			return nil, fmt.Errorf("prior: spread %d is %v: want above 0 and at most 100", i, s)
		}
	}
	for name, s := range f.Series {
		if !(s.Year >= 1900 && s.Year <= 3000 && math.Abs(s.CoresLog) < 20 && math.Abs(s.TDPLog) < 20 &&
			s.CoresSD >= 0 && s.CoresSD < 20 && s.TDPSD >= 0 && s.TDPSD < 20) {
			return nil, fmt.Errorf("prior: series %q: a number is out of range", name)
		}
	}
	var err error
	if p.any, err = f.Any.gaussian(); err != nil {
		return nil, fmt.Errorf("prior: any: %w", err)
	}
	if len(f.Years) == 0 {
		return nil, errors.New("prior: years is empty")
	}
	p.first, p.years = f.Years[0].Year, make([]gaussian, len(f.Years))
	for i := range f.Years {
		if f.Years[i].Year != p.first+i {
			return nil, fmt.Errorf("prior: years, entry %d: year %d does not follow", i, f.Years[i].Year)
		}
		if p.years[i], err = f.Years[i].gaussian(); err != nil {
			return nil, fmt.Errorf("prior: year %d: %w", f.Years[i].Year, err)
		}
	}
	return p, nil
}

func (m *moment) gaussian() (g gaussian, err error) {
	if len(m.Mean) != dims || len(m.Covariance) != dims*(dims+1)/2 {
		return g, fmt.Errorf("%d means and %d covariances: want %d and %d", len(m.Mean), len(m.Covariance), dims, dims*(dims+1)/2)
	}
	n := 0
	for i := range dims {
		if g.mean[i] = m.Mean[i]; !(math.Abs(g.mean[i]) < 50) {
			return g, fmt.Errorf("mean %d is %v: want a logarithm", i, g.mean[i])
		}
		for j := range i + 1 {
			if g.cov[i][j] = m.Covariance[n]; !(math.Abs(g.cov[i][j]) < 1e4) {
				return g, fmt.Errorf("covariance %d,%d is %v", i, j, g.cov[i][j])
			}
			g.cov[j][i] = g.cov[i][j]
			n++
		}
	}
	return g, g.definite()
}

// definite returns an error unless the covariance is positive definite, by a Cholesky decomposition.
func (g *gaussian) definite() error {
	l := g.cov
	for i := range l {
		for j := range i + 1 {
			s := l[i][j]
			for k := range j {
				s -= l[i][k] * l[j][k]
			}
			if i != j {
				l[i][j] = s / l[j][j]
			} else if s > 1e-12 {
				l[i][i] = math.Sqrt(s)
			} else {
				return fmt.Errorf("the covariance is not positive definite in row %d", i)
			}
		}
	}
	return nil
}
