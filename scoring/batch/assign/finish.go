package assign

import "math"

// finish tries to prove that what rows have is the optimum long before the bit is too small to matter: often it is, and only the prices are not yet
// exact. These are shortest paths, then: above the columns that nobody has, a column may cost its row no more than any other column and the difference of both
// to that row. Prices as they are, and some bits more, begin and fall as they must; each row looks at its nearest groups alone. settle, which
// looks at all, has the last word. Nothing is changed where there is no proof.
func (a *auction) finish(bit float64) bool {
	s, base := a.s, a.base()
	if s.cols == s.rows {
		return false
	}
	low := a.work[:len(a.groups)] // of each group, above the columns that nobody has
	for g := range low {
		low[g] = math.Inf(1)
	}
	above := make([]float64, s.cols)
	for j, p := range a.price {
		if a.owner[j] >= 0 {
			above[j] = max(0, p-base) + 10*bit
		}
		g := a.groupOf[j]
		low[g] = min(low[g], above[j])
	}
	near := a.nearTo()
	own := make([]float64, s.rows) // what a row's own column costs it
	waits := make([]bool, s.rows)  // to tell the others that its column has become cheaper
	var queue []int32
	// fall takes over what a row's column may cost at most.
	fall := func(i int32, most float64) (possible bool) {
		j := a.has[i]
		if most >= above[j]-s.slack/8 {
			return true
		}
		above[j] = max(0, most)
		if g := a.groupOf[j]; above[j] < low[g] {
			low[g] = above[j]
			if !waits[i] {
				waits[i] = true
				queue = append(queue, i)
			}
		}
		return most >= -s.slack/2
	}
	for i, j := range a.has {
		own[i] = s.cost[i*s.cols+int(j)]
		n, least := &a.near[i], math.Inf(1)
		for k, g := range n.group[:n.n] {
			if v := n.cost[k] + low[g]; v < least {
				least = v
			}
		}
		if !fall(int32(i), least-own[i]) {
			return false
		}
	}
	for n := 0; n < len(queue); n++ {
		if n > 100*s.rows {
			return false
		}
		i := queue[n]
		waits[i] = false
		g := a.groupOf[a.has[i]]
		for _, o := range near.rows[near.from[g]:near.from[g+1]] {
			if !fall(o.row, o.dist+low[g]-own[o.row]) {
				return false
			}
		}
	}
	for j, v := range above {
		above[j] = -v
	}
	return a.settle(above)
}

// nearTo lists the rows that each group is near to, with what it costs them.
func (a *auction) nearTo() (t struct {
	from []int32
	rows []rowAt
}) {
	t.from = make([]int32, len(a.groups)+1)
	for i := range a.near {
		n := &a.near[i]
		for _, g := range n.group[:n.n] {
			t.from[g+1]++
		}
	}
	for g := range a.groups {
		t.from[g+1] += t.from[g]
	}
	t.rows = make([]rowAt, t.from[len(a.groups)])
	at := append([]int32(nil), t.from...)
	for i := range a.near {
		n := &a.near[i]
		for k, g := range n.group[:n.n] {
			t.rows[at[g]] = rowAt{int32(i), n.cost[k]}
			at[g]++
		}
	}
	return t
}
