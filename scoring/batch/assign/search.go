package assign

import "math"

// augment finds the shortest alternating path from a free row to a free column and applies it (Dijkstra
// over reduced costs). Where no free column can be reached, leaveOut decides which row goes without.
func (s *solver) augment(start int32) {
	s.todo = s.todo[:s.cols]
	for j := range s.todo {
		s.todo[j] = int32(j)
		s.dist[j] = math.Inf(1)
	}
	s.done = s.done[:0]
	// Every path begins at this row, so its dual value shifts all lengths alike: 0 will do.
	s.rowDual[start] = 0
	s.rowsIn = append(s.rowsIn[:0], rowAt{start, 0})
	for {
		at := s.extend(s.rowsIn[len(s.rowsIn)-1])
		if at < 0 {
			s.leaveOut(start)
			return
		}
		j := s.todo[at]
		if s.rowOf[j] == none {
			s.reprice(s.dist[j])
			s.give(j, start)
			return
		}
		s.reach(at)
	}
}

// extend offers paths through one more row to the columns not yet reached, and returns the place in todo of the
// nearest column that is not spent. Free columns win ties, then the lower number. It returns
// -1 where none can be reached.
func (s *solver) extend(r rowAt) int {
	line, dual, dist, via := s.line(int(r.row)), s.colDual, s.dist, s.via
	base := r.dist - s.rowDual[r.row]
	at, best, bestCol := -1, math.Inf(1), none
	for k, j := range s.todo {
		d := base + (line[j] - dual[j])
		if d < dist[j] {
			dist[j], via[j] = d, r.row
		} else {
			d = dist[j]
		}
		if d > best || s.anySpent && s.spent[j] {
			continue
		}
		if d < best || at >= 0 && s.wins(j, bestCol) {
			at, best, bestCol = k, d, j
		}
	}
	return at
}

// wins decides between two columns at the same distance.
func (s *solver) wins(j, k int32) bool {
	if a, b := s.rowOf[j] == none, s.rowOf[k] == none; a != b {
		return a
	}
	return j < k
}

// reach moves a column from todo to done and its row into the tree.
func (s *solver) reach(at int) {
	j := s.todo[at]
	last := len(s.todo) - 1
	s.todo[at] = s.todo[last]
	s.todo = s.todo[:last]
	s.done = append(s.done, j)
	s.rowsIn = append(s.rowsIn, rowAt{s.rowOf[j], s.dist[j]})
}

// reprice restores the law of the dual values after a search that ended at distance end.
func (s *solver) reprice(end float64) {
	for _, r := range s.rowsIn {
		s.rowDual[r.row] += end - r.dist
	}
	for _, j := range s.done {
		s.colDual[j] -= end - s.dist[j]
	}
}

// give hands column j back along the path to the row where the search began.
func (s *solver) give(j, start int32) {
	for {
		i := s.via[j]
		s.rowOf[j] = i
		s.colOf[i], j = j, s.colOf[i]
		if i == start {
			return
		}
	}
}

// leaveOut ends a search that reached every column it could without finding a free one. One row of the
// tree must go without: the one whose absence costs least. The tree grows on through columns that
// were spent before, because a row there may be dearer still than any row here.
func (s *solver) leaveOut(start int32) {
	fresh := len(s.done) // columns that become spent now
	out, end := s.rowsIn[0].row, math.Inf(1)
	checked := 0
	for {
		for ; checked < len(s.rowsIn); checked++ {
			r := s.rowsIn[checked]
			if d := r.dist - s.rowDual[r.row]; d < end {
				out, end = r.row, d
			}
		}
		at, best := -1, end
		for k, j := range s.todo {
			if s.spent[j] && (s.dist[j] < best || at >= 0 && s.dist[j] == best && j < s.todo[at]) {
				at, best = k, s.dist[j]
			}
		}
		if at < 0 {
			break
		}
		s.reach(at)
		s.extend(s.rowsIn[len(s.rowsIn)-1])
	}
	s.reprice(end)
	for _, j := range s.done[:fresh] {
		s.spent[j] = true
		s.anySpent = true
	}
	if out == start {
		return
	}
	j := s.colOf[out]
	s.colOf[out] = none
	s.give(j, start)
}
