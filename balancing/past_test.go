package balancing_test

import (
	"testing"

	"github.com/leastwatt/leastwatt/balancing"
)

func TestPast(t *testing.T) {
	var p balancing.Past
	service := func(name string, ids ...string) (s balancing.Service) {
		s.Name = name
		for _, id := range ids {
			s.Endpoints = append(s.Endpoints, balancing.Endpoint{ID: id})
		}
		return s
	}
	shares := func(values ...float64) (row []balancing.Share) {
		for _, v := range values {
			row = append(row, balancing.Share{Value: v})
		}
		return row
	}
	if _, ok := p.Row("a").Share(0, "x"); ok || p.Row("a").Len() != 0 {
		t.Error("nothing is remembered, and something is")
	}
	row := shares(0.1, 0.2, 0.7)
	p.Keep([]balancing.Service{service("a", "x", "y", "z"), service("b", "x")}, [][]balancing.Share{row, shares(1)})
	row[1].Value = 9 // it is the caller's
	for _, c := range []struct {
		j    int
		id   string
		want float64
		ok   bool
	}{{1, "y", 0.2, true}, {0, "z", 0.7, true}, {7, "x", 0.1, true}, {1, "w", 0, false}} {
		if got, ok := p.Row("a").Share(c.j, c.id); got != c.want || ok != c.ok {
			t.Errorf("share of %s, thought to be at %d: %v, %v", c.id, c.j, got, ok)
		}
	}
	p.Keep([]balancing.Service{service("a", "y", "x")}, [][]balancing.Share{shares(0.4, 0.6)})
	if got, ok := p.Row("a").Share(1, "y"); got != 0.4 || !ok {
		t.Errorf("after the next round: %v, %v", got, ok)
	}
	if _, ok := p.Row("a").Share(2, "z"); ok || p.Row("b") != nil || p.Row("a").Len() != 2 {
		t.Error("what is gone is remembered")
	}
	p.Keep(nil, nil)
	if p.Row("a") != nil {
		t.Error("all is gone, and something is remembered")
	}
}
