package prometheus

import (
	"errors"
	"fmt"
	"strconv"
	"unicode/utf8"
)

// A point is what the series of an instant vector are read for. Its texts are valid until the next one is read.
type point struct {
	node  []byte // the value of the label that names the node; nil where there is none
	part  []byte // the same of partLabel
	value float64
}

// readVector calls each for every series of floats in the answer of Prometheus' API to an instant query. It takes what
// encoding/json takes, but for members given twice, and builds nothing: an answer about thousands of nodes has megabytes,
// most of them labels that nobody asks for.
func readVector(body []byte, label string, each func(*point)) error {
	if !utf8.Valid(body) {
		return errors.New("invalid UTF-8")
	}
	a := &answerReader{scanner: scanner{body: body}, label: label, each: each}
	a.object(func(key []byte) {
		switch string(key) {
		case "status":
			a.status = string(a.once(a.status == "").text())
		case "errorType":
			a.errorType = string(a.text())
		case "error":
			a.message = string(a.text())
		case "data":
			a.data()
		default:
			a.skip()
		}
	})
	if a.peek() != 0 || a.at < len(body) {
		a.fail("more after the answer")
	}
	switch {
	case a.err != nil:
		return a.err
	case a.status == "error":
		return &apiError{a.errorType, a.message}
	case a.status != "success":
		return fmt.Errorf("the status is %q", a.status)
	case a.kind != "vector":
		return fmt.Errorf("the expression gives %s, want an instant vector", orNothing(a.kind))
	case !a.read:
		return errors.New("no result")
	}
	return nil
}

func orNothing(kind string) string {
	if kind == "" {
		return "nothing"
	}
	return kind
}

// An apiError is what Prometheus says of a query that it could not answer.
type apiError struct{ kind, message string }

func (e *apiError) Error() string { return e.kind + ": " + e.message }

// An answerReader reads one answer.
type answerReader struct {
	scanner
	label string
	each  func(*point)
	point point

	status, errorType, message, kind string

	result int // where the result stands that was met before its type; 0 is nowhere
	read   bool
	series int
}

// once fails if something is given that was given before.
func (a *answerReader) once(first bool) *answerReader {
	if !first {
		a.fail("a member is given twice")
	}
	return a
}

func (a *answerReader) data() {
	if a.peek() != '{' { // of an error
		a.skip()
		return
	}
	a.object(func(key []byte) {
		switch string(key) {
		case "resultType":
			a.kind = string(a.once(a.kind == "").text())
			if a.result > 0 && a.kind == "vector" {
				after := a.at
				a.at = a.result
				a.vector()
				a.at = after
			}
		case "result":
			a.once(!a.read && a.result == 0)
			switch a.kind {
			case "vector":
				a.vector()
			default: // the type comes later, or nobody can use it
				a.peek()
				a.result = a.at
				a.skip()
			}
		default:
			a.skip()
		}
	})
}

func (a *answerReader) vector() {
	a.read = true
	a.array(func() {
		p := &a.point
		*p = point{}
		metric, value, histogram := false, false, false
		a.object(func(key []byte) {
			switch string(key) {
			case "metric":
				a.once(!metric)
				metric = true
				a.labels(p)
			case "value":
				a.once(!value)
				value = true
				p.value = a.pair()
			case "histogram":
				histogram = true
				a.skip()
			default:
				a.skip()
			}
		})
		switch {
		case a.err != nil || histogram:
		case !value:
			a.fail("series %d of the vector: the value is no pair of a time and a string", a.series)
		default:
			a.each(p)
		}
		a.series++
	})
}

func (a *answerReader) labels(p *point) {
	a.object(func(key []byte) {
		switch string(key) {
		case a.label:
			p.node = a.once(p.node == nil).text()
		case partLabel:
			p.part = a.once(p.part == nil).text()
		default:
			a.skip()
		}
	})
}

// pair reads a time and a value, which is a string.
func (a *answerReader) pair() (value float64) {
	n := 0
	a.array(func() {
		switch n++; n {
		case 1:
			a.number()
		case 2:
			var err error
			if value, err = strconv.ParseFloat(string(a.text()), 64); err != nil {
				a.fail("series %d of the vector: the value is no number", a.series)
			}
		default:
			a.fail("series %d of the vector: the value is no pair of a time and a string", a.series)
		}
	})
	if n < 2 {
		a.fail("series %d of the vector: the value is no pair of a time and a string", a.series)
	}
	return value
}
