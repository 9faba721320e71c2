package grid

import "slices"

// Tidy returns what a provider told of one zone as a [HistorySource] promises it: by start, what is told twice (an hour at a change of
// clocks) once, as it was told first, and each point ended where the next one starts. A point that is not valid is left out and is a gap, so that
// one absurd value does not take a week of others with it. If of some none is left, the error is that of the first. The slice is used again.
func Tidy(points []Point) ([]Point, error) {
	var first error
	kept := slices.DeleteFunc(points, func(p Point) bool {
		err := p.Validate()
		if err != nil && first == nil {
			first = err
		}
		return err != nil
	})
	if len(kept) == 0 {
		return nil, first
	}
	slices.SortStableFunc(kept, func(a, b Point) int { return a.Start.Compare(b.Start) })
	kept = slices.CompactFunc(kept, func(a, b Point) bool { return a.Start.Equal(b.Start) })
	for i := 1; i < len(kept); i++ {
		if kept[i].Start.Before(kept[i-1].End) {
			kept[i-1].End = kept[i].Start
		}
	}
	return kept, nil
}
