package prometheus

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/leastwatt/leastwatt/sensors"
)

// A Query tells how one kind is read of all nodes.
type Query struct {
	Kind sensors.Kind

	// Expr is PromQL for an instant vector, with one series per node, in the unit of Kind. In Expr and Time,
	// $label stands for the label that names the node and $window for [Options.Window]; what has $window in Expr is taken for a
	// mean over it.
	Expr string

	// Time is PromQL for when that was measured, in Unix seconds, with the same label: the oldest counts.
	// "" works where Expr is a selector alone, and means timestamp(Expr).
	Time string

	// Label names the node; "" means [Options.Label].
	Label string

	source string        // of its readings
	mean   time.Duration // the same
}

var selector = regexp.MustCompile(`^\s*[a-zA-Z_:][a-zA-Z0-9_:]*\s*(\{[^{}]*\})?\s*$`)

// partLabel tells values and times apart in the answer to one request.
const partLabel = "leastwatt_part"

func (q Query) prepare(o *Options) (Query, error) {
	q.Label = cmp.Or(q.Label, o.Label)
	if q.Kind == "" || q.Expr == "" {
		return q, errors.New("a query needs Kind and Expr")
	}
	if q.Time == "" {
		if !selector.MatchString(q.Expr) {
			return q, fmt.Errorf("%s: Expr is more than a selector, so Time must say when it was measured: timestamp(metric)", q.Kind)
		}
		q.Time = "timestamp(" + q.Expr + ")"
	}
	if !labelName.MatchString(q.Label) {
		return q, fmt.Errorf("%s: %q is no label name", q.Kind, q.Label)
	}
	if strings.Contains(q.Expr, "$window") {
		q.mean = o.Window
	}
	fill := strings.NewReplacer("$label", q.Label, "$window", promDuration(o.Window))
	q.Expr, q.Time = fill.Replace(q.Expr), fill.Replace(q.Time)
	q.source = name + ":" + string(q.Kind)
	return q, nil
}

var labelName = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]*$`)

// text returns one expression that gives values and times.
func (q *Query) text() string {
	return fmt.Sprintf("label_replace((%s), %q, \"value\", \"\", \"\")\nor\nlabel_replace(min by (%s) (%s), %q, \"time\", \"\", \"\")",
		q.Expr, partLabel, q.Label, q.Time, partLabel)
}

func promDuration(d time.Duration) string { return fmt.Sprintf("%dms", d.Milliseconds()) }
