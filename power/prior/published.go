package prior

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"

	"github.com/leastwatt/leastwatt/power"
)

// A Published is one server of which a whole curve is known.
type Published struct {
	Hardware
	Watts [Points]power.Watts // AC watts at active idle and at 10, 20 … 100 % load
}

// maxPublished bounds what ReadCSV keeps.
const maxPublished = 100_000

// ReadCSV reads servers from a table with a header and the columns vendor, model, cpu, hw_year, chips, cores,
// threads, cpu_tdp_w, mem_gb, w_idle and w_10, w_20 … w_100, in any order and beside any others. An empty
// cpu_tdp_w is unknown; anything else that is missing or not a positive number is an error that names line
// and column.
func ReadCSV(r io.Reader) ([]Published, error) {
	c := csv.NewReader(r)
	c.ReuseRecord = true
	head, err := c.Read()
	if err != nil {
		return nil, fmt.Errorf("header: %w", err)
	}
	column := make(map[string]int, len(head))
	for i, name := range head {
		column[name] = i
	}
	names := []string{"vendor", "model", "cpu", "hw_year", "chips", "cores", "threads", "cpu_tdp_w", "mem_gb", "w_idle"}
	for k := 1; k < Points; k++ {
		names = append(names, "w_"+strconv.Itoa(10*k))
	}
	at := make([]int, len(names))
	for i, name := range names {
		var ok bool
		if at[i], ok = column[name]; !ok {
			return nil, fmt.Errorf("header: column %q is missing", name)
		}
	}
	var out []Published
	for {
		row, err := c.Read()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		line, _ := c.FieldPos(0)
		if len(out) == maxPublished {
			return nil, fmt.Errorf("line %d: more than %d servers", line, maxPublished)
		}
		var v [9 + Points]float64
		for i := 3; i < len(names); i++ {
			text := row[at[i]]
			if text == "" && names[i] == "cpu_tdp_w" {
				continue
			}
			v[i], err = strconv.ParseFloat(text, 64)
			if err != nil || !(v[i] > 0 && v[i] < 1e9) {
				return nil, fmt.Errorf("line %d: column %q: %q is not a number above 0 and below 1e9", line, names[i], text)
			}
		}
		p := Published{Hardware: Hardware{System: row[at[0]] + " " + row[at[1]], CPU: row[at[2]], Year: int(v[3]), Chips: int(v[4]),
			Cores: int(v[5]), Threads: int(v[6]), TDP: power.Watts(v[7]), MemoryGB: v[8]}}
		for k := range p.Watts {
			p.Watts[k] = power.Watts(v[9+k])
		}
		out = append(out, p)
	}
}

// vector returns the logarithms of a server's watts and attributes.
func (p *Published) vector() (x [dims]float64) {
	for i, w := range p.Watts {
		x[i] = math.Log(float64(w))
	}
	a := p.attributes()
	copy(x[Points:], a[:])
	return x
}
