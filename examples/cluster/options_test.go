package main

import (
	"errors"
	"flag"
	"strings"
	"testing"
)

func TestParseOptions(t *testing.T) {
	for _, test := range []struct {
		args  string
		nodes int
		pods  int
		wrong string // part of the complaint; "" where the flags are right
	}{
		{"", 24, 120, ""},
		{"-nodes 3 -pods 7 -load 1 -seed 9 -keep -json", 3, 7, ""},
		{"-bench", 500, 2000, ""},
		{"-bench -nodes 50 -repetitions 1", 50, 2000, ""},
		{"-nodes 0", 0, 0, "-nodes is 0: want 1 to"},
		{"-nodes -5", 0, 0, "-nodes is -5"},
		{"-nodes many", 0, 0, `invalid value "many" for flag -nodes`},
		{"-pods 0", 0, 0, "-pods is 0"},
		{"-load 0", 0, 0, "-load is 0"},
		{"-load 1.01", 0, 0, "-load is 1.01: want more than 0, at most 1"},
		{"-load NaN", 0, 0, "-load is NaN"},
		{"-seed -1", 0, 0, "-seed"},
		{"-nodes 0 -load 2", 0, 0, "-load is 2"},
		{"-nodse 3", 0, 0, "-nodse"},
		{"40", 0, 0, `unexpected argument "40"`},
		{"-bench -json", 0, 0, "-bench goes with neither"},
		{"-repetitions 2", 0, 0, "-repetitions needs -bench"},
		{"-watching", 0, 0, "-watching needs -bench"},
		{"-bench -nodes 5000 -pods 10000 -init-pods 1000 -sensors prometheus -contest default -poll 30s", 5000, 10000, ""},
		{"-nodes 5000", 0, 0, "-nodes is 5000: want 1 to 2000"},
		{"-bench -nodes 5001", 0, 0, "-nodes is 5001: want 1 to 5000"},
		{"-bench -init-pods -1", 0, 0, "-init-pods is -1"},
		{"-bench -contest none", 0, 0, `-contest is "none"`},
		{"-bench -sensors ipmi", 0, 0, `-sensors is "ipmi"`},
		{"-bench -poll 5m", 0, 0, "-poll is 5m0s: want 1s to 30s"},
	} {
		var stderr strings.Builder
		o, err := parseOptions(strings.Fields(test.args), &stderr)
		switch {
		case test.wrong == "" && err != nil:
			t.Errorf("%q: %v", test.args, err)
		case test.wrong == "" && (o.nodes != test.nodes || o.pods != test.pods):
			t.Errorf("%q: %d nodes and %d pods, want %d and %d", test.args, o.nodes, o.pods, test.nodes, test.pods)
		case test.wrong != "" && err == nil:
			t.Errorf("%q is accepted", test.args)
		case test.wrong != "" && !strings.Contains(stderr.String(), test.wrong):
			t.Errorf("%q: stderr is %q, want %q in it", test.args, stderr.String(), test.wrong)
		}
	}
	if _, err := parseOptions([]string{"-help"}, new(strings.Builder)); !errors.Is(err, flag.ErrHelp) {
		t.Errorf("-help: %v, want flag.ErrHelp", err)
	}
}
