package arrivals

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"
)

// state is what a learner knows, in JSON. Names of jobs are not kept.
type state struct {
	Slot  time.Duration `json:"slot"`
	Begun time.Duration `json:"begun"`
	At    int64         `json:"at"`
	Work  float64       `json:"work"`
	All   [2]float64    `json:"all"`
	Noise [2]float64    `json:"noise"`
	Day   [][2]float64  `json:"day"`
	Kinds [][6]float64  `json:"kinds"` // length, slack, work, life, slack, load
}

// MarshalJSON states what a learner knows, so that a restart need not learn it again.
func (l *Learner) MarshalJSON() ([]byte, error) {
	s := state{Slot: l.slot, Begun: l.begun, At: l.at, Work: l.work, All: [2]float64{l.all.mean, l.all.n}, Noise: [2]float64{l.noise.mean, l.noise.n}}
	for _, d := range l.day {
		s.Day = append(s.Day, [2]float64{d.mean, d.n})
	}
	for k, x := range l.kinds {
		s.Kinds = append(s.Kinds, [6]float64{float64(k.length), float64(k.slack), x.work, x.life, x.slack, x.load})
	}
	slices.SortFunc(s.Kinds, func(a, b [6]float64) int { return slices.Compare(a[:], b[:]) })
	return json.Marshal(s)
}

// UnmarshalJSON takes over what MarshalJSON stated. What cannot be such a state is an error, and changes nothing.
func (l *Learner) UnmarshalJSON(text []byte) error {
	var s state
	if err := json.Unmarshal(text, &s); err != nil {
		return err
	}
	if s.Slot <= 0 {
		return fmt.Errorf("arrivals: slots of %v: want more than 0", s.Slot)
	}
	next := New(s.Slot, s.Begun)
	if len(s.Day) != len(next.day) {
		return fmt.Errorf("arrivals: %d slots of the day, want %d", len(s.Day), len(next.day))
	}
	if s.At < 0 || s.Begun < 0 || time.Duration(s.At) > math.MaxInt64/s.Slot {
		return errors.New("arrivals: a time out of range")
	}
	pairs := append([][2]float64{{s.Work, 0}, s.All, s.Noise}, s.Day...)
	for _, p := range pairs {
		if !sane(p[:]) {
			return fmt.Errorf("arrivals: %v: want finite numbers, 0 or more", p)
		}
	}
	for i, d := range s.Day {
		next.day[i] = average{d[0], d[1]}
	}
	for _, k := range s.Kinds {
		if !sane(k[:]) || !(k[2] > 0) || k[0] > 64 || k[1] > 64 {
			return fmt.Errorf("arrivals: jobs alike %v: want finite numbers, 0 or more, and work above 0", k)
		}
		next.kinds[likeness{int(k[0]), int(k[1])}] = &sample{k[2], k[3], k[4], k[5]}
	}
	next.at, next.work, next.all, next.noise = s.At, s.Work, average{s.All[0], s.All[1]}, average{s.Noise[0], s.Noise[1]}
	*l = *next
	return nil
}

func sane(v []float64) bool {
	return !slices.ContainsFunc(v, func(x float64) bool { return !(x >= 0) || math.IsInf(x, 0) })
}

// Slot is how long a slot is.
func (l *Learner) Slot() time.Duration { return l.slot }
