package exposition

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"
)

func TestParseKeepsWhatIsGood(t *testing.T) {
	text := "# HELP a help\n# TYPE a gauge\na{x=\"1\"} 5\na{x=\"2\"} N/A\na{x=\"3\"} NaN\na{x=\"1\"} 6\n" +
		"b 7 1700000000000\n# TYPE h histogram\nh_bucket{le=\"1\"} 2\nunwanted{ nonsense\n"
	s, err := Parse([]byte(text), "a", "b")
	if err == nil || !strings.Contains(err.Error(), "N/A") {
		t.Errorf("the bad line is not told: %v", err)
	}
	if len(s) != 2 || s[0].Value != 5 || s[0].Labels["x"] != "1" || s[1].Value != 7 || !s[1].At.Equal(time.UnixMilli(1700000000000)) {
		t.Errorf("got %+v", s)
	}
	if got := s.Named("a").Where(map[string]string{"x": "1"}); len(got) != 1 {
		t.Errorf("Where: %v", got)
	}
	for name, bad := range map[string]string{"html": "<html><body>login</body></html>", "empty": "", "json": `{"a": 1}`, "bytes": "\xff\xfe\x00"} {
		if s, err := Parse([]byte(bad), "a"); err == nil || len(s) > 0 {
			t.Errorf("%s: %v, %v", name, s, err)
		}
	}
	if s, err := Parse([]byte("other 1\n"), "a"); err != nil || len(s) > 0 { // an exposition without the metric
		t.Errorf("%v, %v", s, err)
	}
	var many strings.Builder
	for i := range MaxSamples + 1 {
		fmt.Fprintf(&many, "a{x=\"%d\"} 1\n", i)
	}
	if _, err := Parse([]byte(many.String()), "a"); !errors.Is(err, ErrTooMany) {
		t.Errorf("%d samples: %v", MaxSamples+1, err)
	}
}

func TestRates(t *testing.T) {
	at := func(s float64) time.Time { return time.Unix(1000, 0).Add(time.Duration(s * float64(time.Second))) }
	var r Rates
	for i, step := range []struct {
		s, value float64
		rate     float64
		end      float64
		ok       bool
	}{
		{0, 100, 0, 0, false},
		{0.5, 150, 0, 0, false},     // too soon for a first rate
		{10, 1100, 100, 10, true},   // 1000 J in 10 s
		{10.5, 9999, 100, 10, true}, // too soon: the last rate, with its own time
		{20, 1600, 50, 20, true},
		{30, 10, 0, 0, false},     // reset
		{40, 510, 50, 40, true},   // and on from there
		{500, 5000, 0, 0, false},  // a gap
		{510, 5000, 0, 510, true}, // nothing drawn is a rate
	} {
		rate, end, ok := r.Per("k", step.value, at(step.s))
		if ok != step.ok || ok && (math.Abs(rate-step.rate) > 1e-9 || !end.Equal(at(step.end))) {
			t.Errorf("step %d: %v at %v, %v; want %v at %v, %v", i, rate, end, ok, step.rate, at(step.end), step.ok)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("# TYPE a gauge\na{x=\"1\"} 5\na{x=\"2\"} N/A\n"))
	f.Add([]byte("a{x=\"\\\"\xff\"} 5 12\na 1e400\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		s, _ := Parse(text, "a", "b")
		seen := map[string]bool{}
		for i := range s {
			if v := s[i].Value; math.IsNaN(v) || math.IsInf(v, 0) {
				t.Errorf("%v is not finite", v)
			}
			if s[i].Name != "a" && s[i].Name != "b" {
				t.Errorf("got %q", s[i].Name)
			}
			if k := s[i].Key(); seen[k] {
				t.Errorf("%q twice", k)
			} else {
				seen[k] = true
			}
		}
	})
}
