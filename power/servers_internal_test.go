package power

import (
	"math"
	"strings"
	"testing"
)

func FuzzParseServers(f *testing.F) {
	f.Add(serversTable)
	f.Add("a\tb\tc\t2020\t1\t1\t1\t1\t1\td\t1 2 3 4 5 6 7 8 9 10 11\t1 2 3 4 5 6 7 8 9 NaN\n")
	f.Fuzz(func(t *testing.T, text string) {
		servers, err := parseServers(strings.NewReader(text))
		if err != nil {
			return
		}
		for _, s := range servers {
			for _, w := range s.Watts {
				if !(w > 0) || math.IsInf(float64(w), 0) {
					t.Fatalf("accepted watts %v", w)
				}
			}
			if s.Speed() < 0 {
				t.Fatalf("speed %v", s.Speed())
			}
		}
	})
}
