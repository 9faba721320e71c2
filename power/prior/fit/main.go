// Command fit makes the prior that package prior embeds from published curves.
//
//	go run ./power/prior/fit -in ../shared/data/specpower/specpower_ssj2008_curves.csv -out power/prior/prior.json
//
// It needs the table of curves, which is not part of this repository.
package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"regexp"
	"strconv"

	"github.com/leastwatt/leastwatt/power/prior"
)

func main() {
	in := flag.String("in", "", "table of published curves, CSV")
	out := flag.String("out", "prior.json", "file to write")
	bandwidth := flag.Float64("bandwidth", 2, "years around which servers count")
	source := flag.String("source", "SPECpower_ssj2008 results published by SPEC (spec.org/power_ssj2008), hardware of 2004 to 2022", "where the curves are from")
	flag.Parse()
	if err := run(*in, *out, prior.FitOptions{Bandwidth: *bandwidth, Source: *source}); err != nil {
		fmt.Fprintln(os.Stderr, "fit:", err)
		os.Exit(1)
	}
}

func run(in, out string, o prior.FitOptions) error {
	f, err := os.Open(in)
	if err != nil {
		return err
	}
	defer f.Close()
	servers, err := prior.ReadCSV(f)
	if err != nil {
		return fmt.Errorf("%s: %w", in, err)
	}
	p, err := prior.Fit(servers, o)
	if err != nil {
		return err
	}
	data, err := json.Marshal(p)
	if err != nil {
		return err
	}
	data = round(data)
	if _, err := prior.Parse(bytes.NewReader(data)); err != nil {
		return err
	}
	if err := os.WriteFile(out, data, 0o644); err != nil {
		return err
	}
	first, last := p.Years()
	k := p.Kinship()
	fmt.Printf("%d servers of %d to %d; kin share of what is special: system %.2f, CPU %.2f, series %.2f\n", p.Servers(), first, last, k.System, k.CPU, k.Series)
	return nil
}

var (
	number = regexp.MustCompile(`-?[0-9]+\.[0-9]+(e[-+]?[0-9]+)?`)
	breaks = regexp.MustCompile(`\{"year"|"(format|source|servers|kinship|spread|any|years|series)":`)
)

// round keeps six digits of every number and puts each year on a line of its own, so that the file can be
// compared.
func round(data []byte) []byte {
	data = number.ReplaceAllFunc(data, func(b []byte) []byte {
		v, err := strconv.ParseFloat(string(b), 64)
		if err != nil {
			return b
		}
		return strconv.AppendFloat(nil, v, 'g', 7, 64)
	})
	return append(breaks.ReplaceAll(data, []byte("\n$0")), '\n')
}
