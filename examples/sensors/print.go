package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/leastwatt/leastwatt/sensors"
)

// print writes the rows as a table, or as one line of JSON.
func print(w io.Writer, rows []row, now time.Time, asJSON bool) error {
	for i := range rows {
		rows[i].readings = slices.SortedFunc(slices.Values(rows[i].readings), func(a, b sensors.Reading) int { return cmp.Compare(a.Kind, b.Kind) })
	}
	if asJSON {
		return printJSON(w, rows)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "NODE\tKIND\tVALUE\tAGE\tSOURCE")
	for _, r := range rows {
		for _, x := range r.readings {
			fmt.Fprintf(t, "%s\t%s\t%.6g\t%v\t%s\n", r.node, x.Kind, x.Value, x.Age(now).Round(100*time.Millisecond), x.Source)
		}
		for _, err := range r.errs {
			fmt.Fprintf(t, "%s\terror\t\t\t%s\n", r.node, strings.ReplaceAll(err.Error(), "\n", "; "))
		}
		if len(r.readings) == 0 && len(r.errs) == 0 {
			fmt.Fprintf(t, "%s\tnot read yet\n", r.node)
		}
	}
	return t.Flush()
}

func printJSON(w io.Writer, rows []row) error {
	type reading struct {
		Kind   sensors.Kind `json:"kind"`
		Value  float64      `json:"value"`
		At     time.Time    `json:"at"`
		Source string       `json:"source"`
	}
	type node struct {
		Node     string    `json:"node"`
		Readings []reading `json:"readings"`
		Errors   []string  `json:"errors"`
	}
	out := struct {
		Nodes []node `json:"nodes"`
	}{Nodes: []node{}}
	for _, r := range rows {
		n := node{Node: r.node, Readings: []reading{}, Errors: []string{}}
		for _, x := range r.readings {
			n.Readings = append(n.Readings, reading{x.Kind, x.Value, x.At, x.Source})
		}
		for _, err := range r.errs {
			n.Errors = append(n.Errors, err.Error())
		}
		out.Nodes = append(out.Nodes, n)
	}
	return json.NewEncoder(w).Encode(out)
}
