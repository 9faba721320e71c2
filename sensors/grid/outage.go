package grid

import "strings"

// News is what there is to tell of an [Outage].
type News uint8

// What there may be to tell.
const (
	NoNews News = iota // it is as before
	Began              // something is wrong, or something else than before
	Ended              // nothing is wrong any more
)

// An Outage remembers what was wrong last, so that a fault that goes on is told once. The zero value is nothing. It is not safe for
// concurrent use.
type Outage struct{ fault string }

// Next takes what is wrong now, nil for nothing, and returns what there is to tell of it. Numbers in its text, as of ports and times, make
// no other fault of it.
func (o *Outage) Next(err error) News {
	was := o.fault
	o.fault = ""
	if err != nil {
		o.fault = "!" + strings.Map(func(r rune) rune {
			if r >= '0' && r <= '9' {
				return -1
			}
			return r
		}, err.Error())
	}
	switch o.fault {
	case was:
		return NoNews
	case "":
		return Ended
	}
	return Began
}
