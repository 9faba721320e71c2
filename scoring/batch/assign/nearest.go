package assign

import "math"

const candidates = 96

// nearest has the groups that were the cheapest for a row at some time, with their costs. All others were at limit or above, and prices only
// rise, so that a row that finds two columns at limit or less need not look further.
type nearest struct {
	limit float64
	n     int32
	group [candidates]int32
	cost  [candidates]float64
}

// best returns the least and the second least price of a row, its own cost included, and the group of the least.
func (a *auction) best(i int32) (best, second float64, at int32) {
	if best, second, at = a.among(&a.near[i]); second > a.near[i].limit {
		a.look(i)
		best, second, at = a.among(&a.near[i])
	}
	return best, second, at
}

func (a *auction) among(n *nearest) (best, second float64, at int32) {
	best, second, at = math.Inf(1), math.Inf(1), none
	where := 0
	for k, g := range n.group[:n.n] {
		if v := n.cost[k] + a.low[g]; v < second {
			if v < best {
				best, second, at, where = v, best, g, k
			} else {
				second = v
			}
		}
	}
	if at >= 0 {
		if c := a.groups[at].cols; len(c) > 1 {
			next := a.price[c[1]]
			if len(c) > 2 {
				next = min(next, a.price[c[2]])
			}
			second = min(second, n.cost[where]+next)
		}
	}
	return best, second, at
}

// look finds a row's nearest groups anew.
func (a *auction) look(i int32) {
	groups := len(a.groups)
	line := a.cost[int(i)*groups : (int(i)+1)*groups]
	value := a.work[:groups]
	least := math.Inf(1)
	for g, p := range a.low[:groups] {
		v := line[g] + p
		value[g] = v
		if v < least {
			least = v
		}
	}
	n := &a.near[i]
	if groups <= candidates/2 {
		n.limit = math.Inf(1)
	} else {
		n.limit = least + a.width
	}
	if n.take(value, line); groups > candidates/2 && n.n < candidates/4 || n.n > candidates {
		a.sorted = append(a.sorted[:0], value...)
		n.limit = nthLeast(a.sorted, min(candidates*3/4, groups-1))
		a.width = n.limit - least // a good guess for the next row
		n.take(value, line)
		for g, v := range value { // as many of the equal ones as there is room for
			if n.n >= candidates*3/4 {
				break
			}
			if v == n.limit {
				n.group[n.n], n.cost[n.n] = int32(g), line[g]
				n.n++
			}
		}
	}
}

// take lists the groups below the limit. More than there is room for are only counted.
func (n *nearest) take(value, line []float64) {
	limit, at := n.limit, int32(0)
	line = line[:len(value)]
	for g, v := range value {
		if v < limit {
			if at < candidates {
				n.group[at], n.cost[at] = int32(g), line[g]
			}
			at++
		}
	}
	n.n = at
}
