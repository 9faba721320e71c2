package inference

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"unicode/utf8"
)

// maxNesting bounds the nesting of numbers in an answer.
const maxNesting = 8

// flatten returns the numbers of an array of any nesting, in order; null becomes NaN. More than most numbers,
// and anything that is not a number, is an error that wraps [ErrAnswer].
func flatten(raw json.RawMessage, most int) ([]float64, error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	out := make([]float64, 0, min(most, len(raw)/2+1))
	for depth := 0; ; {
		t, err := d.Token()
		if err != nil {
			if errors.Is(err, io.EOF) {
				return nil, fmt.Errorf("%w: no array of numbers", ErrAnswer)
			}
			return nil, fmt.Errorf("%w: %v", ErrAnswer, err)
		}
		switch t := t.(type) {
		case json.Delim:
			switch t {
			case '[':
				if depth++; depth > maxNesting {
					return nil, fmt.Errorf("%w: numbers nested more than %d deep", ErrAnswer, maxNesting)
				}
			case ']':
				depth--
			default:
				return nil, fmt.Errorf("%w: an object where numbers belong", ErrAnswer)
			}
		case json.Number:
			v, err := t.Float64()
			if err != nil {
				return nil, fmt.Errorf("%w: number %s", ErrAnswer, brief(t.String()))
			}
			out = append(out, v)
		case nil:
			out = append(out, math.NaN())
		default:
			return nil, fmt.Errorf("%w: %s where a number belongs", ErrAnswer, brief(fmt.Sprint(t)))
		}
		if len(out) > most {
			return nil, fmt.Errorf("%w: more than %d numbers for as many rows", ErrAnswer, most)
		}
		if depth == 0 {
			break
		}
	}
	return out, nil
}

// rows returns exactly n numbers.
func rows(raw json.RawMessage, n int) ([]float64, error) {
	v, err := flatten(raw, n)
	if err != nil {
		return nil, err
	}
	if len(v) != n {
		return nil, fmt.Errorf("%w: %d numbers for %d rows", ErrAnswer, len(v), n)
	}
	return v, nil
}

// brief returns the start of foreign text, on one line.
func brief(s string) string {
	const most = 120
	s = strings.Join(strings.Fields(s), " ")
	if len(s) <= most {
		return s
	}
	s = s[:most]
	for !utf8.ValidString(s) && len(s) > 0 {
		s = s[:len(s)-1]
	}
	return s + "…"
}

// serverError returns what a server says in its field "error", which may be text or any JSON.
func serverError(raw json.RawMessage) error {
	if len(raw) == 0 || string(raw) == "null" {
		return nil
	}
	var text string
	if json.Unmarshal(raw, &text) != nil {
		text = string(raw)
	}
	return fmt.Errorf("%w: the server says %q", ErrAnswer, brief(text))
}

// checkRows refuses rows that JSON or float32 cannot carry.
func checkRows(rows [][]float64) error {
	if len(rows) == 0 {
		return errors.New("no rows")
	}
	for i, r := range rows {
		if len(r) != len(rows[0]) {
			return fmt.Errorf("row %d has %d features, row 0 has %d", i, len(r), len(rows[0]))
		}
		for k, v := range r {
			if math.IsNaN(v) || math.Abs(v) > math.MaxFloat32 {
				return fmt.Errorf("row %d, feature %d is %v", i, k, v)
			}
		}
	}
	return nil
}
