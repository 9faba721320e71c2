package carbonaware

import (
	"cmp"
	"slices"
	"time"

	"github.com/leastwatt/leastwatt/sensors/grid"
)

func compare(a, b float64) int { return cmp.Compare(a, b) }

// windows gives the mean over each window of a size that starts with a point and lies wholly in what is known; a size
// of 0 gives the points themselves. Points are by start.
func windows(zone string, ps []grid.Point, size time.Duration) []datum {
	out := make([]datum, 0, len(ps))
	if size == 0 {
		for _, p := range ps {
			out = append(out, datum{zone, p.Start, int(p.End.Sub(p.Start) / time.Minute), new(p.Value)})
		}
		return out
	}
	sum := 0.0 // value × seconds of the full points first ≤ k < last
	last := 0
	for first, p := range ps {
		if last < first {
			last, sum = first, 0
		}
		end := p.Start.Add(size)
		for last < len(ps) && !ps[last].End.After(end) && (last == first || ps[last].Start.Equal(ps[last-1].End)) {
			sum += ps[last].Value * seconds(ps[last])
			last++
		}
		total, known := sum, p.Start
		if last > first {
			known = ps[last-1].End
		}
		if known.Before(end) && last < len(ps) && ps[last].Start.Equal(known) { // a part of the next point
			total += ps[last].Value * end.Sub(known).Seconds()
			known = end
		}
		if !known.Before(end) {
			out = append(out, datum{zone, p.Start, int(size / time.Minute), new(max(total, 0) / size.Seconds())})
		}
		if last > first {
			sum -= p.Value * seconds(p)
		}
	}
	return out
}

func seconds(p grid.Point) float64 { return p.End.Sub(p.Start).Seconds() }

// lowest gives those that are the lowest.
func lowest(ds []datum) []datum {
	if len(ds) == 0 {
		return ds
	}
	low := *slices.MinFunc(ds, func(a, b datum) int { return compare(*a.Value, *b.Value) }).Value
	return slices.DeleteFunc(slices.Clone(ds), func(d datum) bool { return *d.Value > low })
}
