package main

import (
	"bytes"
	"io"
	"strings"
	"testing"
)

func TestAskOnce(t *testing.T) {
	var out bytes.Buffer
	if err := run(t.Context(), &out, "", 24, 0.4, `{"cpu_milli":4000,"num_workloads":3}`); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), `{"watt_increases":[`) {
		t.Errorf("answer:\n%s", out.String())
	}
}

func TestWrong(t *testing.T) {
	if err := run(t.Context(), io.Discard, "", 24, 0.4, `{"cpu_milli":4000,"num_workloads":0}`); err == nil {
		t.Error("no workloads pass")
	}
	if err := run(t.Context(), io.Discard, "", 0, 0.4, `{}`); err == nil {
		t.Error("a cluster without servers passes")
	}
}
