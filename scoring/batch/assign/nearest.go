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
	n := &a.near[i]
	if groups <= candidates/2 {
		n.limit = math.Inf(1)
		n.take(a.below(line, n.limit), line)
		return
	}
	// Nothing is below both the old limit and the best of the old candidates, so that a limit is known before the least is.
	least, _, _ := a.among(n)
	if least = min(least, n.limit); math.IsInf(least, -1) {
		least = math.Inf(1)
		low := a.low[:len(line)]
		for g, c := range line {
			if v := c + low[g]; v < least {
				least = v
			}
		}
	}
	n.limit = least + a.width
	found := a.below(line, n.limit)
	if len(found) < candidates/4 {
		n.limit = least + 4*a.width
		found = a.below(line, n.limit)
	}
	if len(found) < candidates/4 {
		found = a.below(line, math.Inf(1))
	}
	if len(found) > candidates {
		found = a.fewer(found, line, n)
		a.width = n.limit - least // a good guess for the next row
	}
	n.take(found, line)
}

// fewer keeps of a list of groups the cheapest for a row, which has their costs in line, and sets the row's limit.
func (a *auction) fewer(list []int32, line []float64, n *nearest) []int32 {
	value := a.work[:len(list)]
	for k, g := range list {
		value[k] = line[g] + a.low[g]
	}
	a.sorted = append(a.sorted[:0], value...)
	n.limit = nthLeast(a.sorted, candidates*3/4)
	var few, equal []int32 = a.few[:0], nil
	for k, v := range value {
		if v < n.limit {
			few = append(few, list[k])
		} else if v == n.limit && len(equal) < candidates {
			equal = append(equal, list[k])
		}
	}
	a.few = append(few, equal[:min(len(equal), candidates*3/4-len(few))]...) // as many of the equal ones as there is room for
	return a.few
}

// below lists the groups that cost a row less than a limit. It adds all and counts those: a processor foresees no branch here.
func (a *auction) below(line []float64, limit float64) []int32 {
	low, list := a.low[:len(line)], a.list[:len(line)]
	at := 0
	for g, c := range line {
		list[at] = int32(g)
		less := 0
		if c+low[g] < limit {
			less = 1
		}
		at += less
	}
	return list[:at]
}

// take makes groups the candidates.
func (n *nearest) take(groups []int32, line []float64) {
	n.n = int32(copy(n.group[:], groups))
	for k, g := range n.group[:n.n] {
		n.cost[k] = line[g]
	}
}
