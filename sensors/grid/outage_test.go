package grid

import (
	"errors"
	"testing"
)

// A fault is told when it begins, when it becomes another one and when it is over, and not in between.
func TestOutage(t *testing.T) {
	var o Outage
	for i, x := range []struct {
		text string // "-" is no error
		want News
	}{
		{"-", NoNews}, {"port 40001: reset", Began}, {"port 40002: reset", NoNews}, {"port 7: refused", Began}, {"-", Ended}, {"-", NoNews},
		{"port 8: refused", Began}, {"", Began}, {"", NoNews}, {"12", NoNews}, {"-", Ended},
	} {
		var err error
		if x.text != "-" {
			err = errors.New(x.text)
		}
		if got := o.Next(err); got != x.want {
			t.Errorf("%d: %q gives %d, want %d", i, x.text, got, x.want)
		}
	}
}
