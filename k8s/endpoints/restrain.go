package endpoints

import (
	"cmp"
	"slices"

	"github.com/leastwatt/leastwatt/balancing"
)

// boldest is how much of the neutral share an endpoint gets at most where the rate of requests is not known. One request a
// second fits on any server, so that the cheapest would get nearly all of however many there are.
const boldest = 1.5

// restrain keeps an endpoint's share at the boldest one; what is above goes to the others in proportion. The order of shares
// stays, and so an unknown endpoint stays below the known ones.
func restrain(row []balancing.Share) {
	most := boldest / float64(len(row))
	if !slices.ContainsFunc(row, func(s balancing.Share) bool { return s.Value > most }) {
		return
	}
	order := make([]int, len(row))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(row[b].Value, row[a].Value) })
	rest := 0.0
	for i := range row {
		rest += row[i].Value
	}
	for k, at := range order {
		left := 1 - float64(k)*most // for those from k on
		if row[at].Value*left <= most*rest {
			for _, i := range order[k:] {
				if rest > 0 {
					row[i].Value *= left / rest
				} else {
					row[i].Value = left / float64(len(row)-k)
				}
			}
			return
		}
		rest -= row[at].Value
		row[at].Value = most
	}
}
