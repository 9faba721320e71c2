package main

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"
)

// The server whose BMC is dead ranks last, with its reason and without numbers; the others are ranked by added watts.
func TestDeadBMCRanksLast(t *testing.T) {
	var out bytes.Buffer
	if err := run(t.Context(), &out, true); err != nil {
		t.Fatal(err)
	}
	var got struct {
		Candidates []struct {
			Node                                   string
			WattsBefore, WattsAfter, MarginalWatts *float64
			Rank                                   int
			Reason                                 string
		}
	}
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatalf("%v in %s", err, out.Bytes())
	}
	if len(got.Candidates) != 3 {
		t.Fatalf("%d candidates, want 3", len(got.Candidates))
	}
	for i, c := range got.Candidates {
		if c.Rank != i+1 || c.Reason == "" {
			t.Errorf("candidate %d is %+v", i, c)
		}
		if dead := c.Node == "silent"; dead != (i == 2) || dead != (c.MarginalWatts == nil) || dead != (c.WattsBefore == nil) {
			t.Errorf("%q has rank %d and marginal watts %v", c.Node, c.Rank, c.MarginalWatts)
		}
	}
	if why := got.Candidates[2].Reason; !strings.Contains(why, "redfish") || strings.Contains(why, "quickstart\"") {
		t.Errorf("the reason does not name the source: %s", why)
	}
	if a, b := got.Candidates[0], got.Candidates[1]; a.MarginalWatts != nil && b.MarginalWatts != nil && *a.MarginalWatts > *b.MarginalWatts {
		t.Errorf("%s adds %v W and ranks above %s, which adds %v W", a.Node, *a.MarginalWatts, b.Node, *b.MarginalWatts)
	}
}

// The README promises the SDK in sixty lines.
func TestSixtyLines(t *testing.T) {
	text, err := os.ReadFile("rank.go")
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(text, []byte("\n")); n > 60 {
		t.Errorf("rank.go has %d lines, want at most 60", n)
	}
}
