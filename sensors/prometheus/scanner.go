package prometheus

import (
	"encoding/json"
	"fmt"
)

// A scanner reads JSON of valid UTF-8 in place. After the first error it reads nothing more.
type scanner struct {
	body  []byte
	at    int
	depth int
	err   error
}

// deepest is how many values may stand within each other: Prometheus' answers have six.
const deepest = 64

func (s *scanner) fail(format string, args ...any) {
	if s.err == nil {
		s.err = fmt.Errorf("at byte %d: "+format, append([]any{s.at}, args...)...)
	}
	s.at = len(s.body)
}

// peek returns the next byte that is no space, or 0 at the end.
func (s *scanner) peek() byte {
	for ; s.at < len(s.body); s.at++ {
		switch c := s.body[s.at]; c {
		case ' ', '\t', '\n', '\r':
		default:
			return c
		}
	}
	return 0
}

// take reads one byte that has to be there.
func (s *scanner) take(c byte) bool {
	if s.peek() != c {
		s.fail("want %q", c)
		return false
	}
	s.at++
	return true
}

// object calls each with every key; it has to read the value. The key is valid until then.
func (s *scanner) object(each func(key []byte)) {
	s.list('{', '}', func() {
		if key := s.text(); s.take(':') {
			each(key)
		}
	})
}

// array calls each for every element, which it has to read.
func (s *scanner) array(each func()) { s.list('[', ']', each) }

func (s *scanner) list(first, last byte, each func()) {
	if s.depth == deepest {
		s.fail("too deep")
	}
	if !s.take(first) {
		return
	}
	if s.peek() == last {
		s.at++
		return
	}
	s.depth++
	for s.err == nil {
		each()
		if s.peek() == last {
			s.at++
			break
		}
		s.take(',')
	}
	s.depth--
}

// text reads a string.
func (s *scanner) text() []byte {
	if !s.take('"') {
		return nil
	}
	from, plain := s.at, true
	for s.at < len(s.body) {
		switch c := s.body[s.at]; {
		case c == '"':
			s.at++
			if plain {
				return s.body[from : s.at-1 : s.at-1]
			}
			var text string
			if err := json.Unmarshal(s.body[from-1:s.at], &text); err != nil {
				s.fail("a string: %v", err)
			}
			return []byte(text)
		case c == '\\':
			plain = false
			s.at += 2
		case c < ' ':
			s.fail("a control character in a string")
		default:
			s.at++
		}
	}
	s.fail("a string does not end")
	return nil
}

// number reads a number and leaves it alone.
func (s *scanner) number() {
	s.peek()
	from := s.at
	digits := func() {
		if c := s.next(); c < '0' || c > '9' {
			s.fail("want a digit")
		}
		for c := s.next(); c >= '0' && c <= '9'; c = s.next() {
			s.at++
		}
	}
	if s.next() == '-' {
		s.at++
	}
	if s.next() == '0' {
		s.at++
	} else {
		digits()
	}
	if s.next() == '.' {
		s.at++
		digits()
	}
	if c := s.next(); c == 'e' || c == 'E' {
		s.at++
		if c := s.next(); c == '+' || c == '-' {
			s.at++
		}
		digits()
	}
	if s.at == from {
		s.fail("want a number")
	}
}

// next returns the byte that stands here, or 0 at the end.
func (s *scanner) next() byte {
	if s.at < len(s.body) {
		return s.body[s.at]
	}
	return 0
}

// skip reads any value.
func (s *scanner) skip() {
	switch c := s.peek(); c {
	case '{':
		s.object(func([]byte) { s.skip() })
	case '[':
		s.array(s.skip)
	case '"':
		s.text()
	case 't':
		s.word("true")
	case 'f':
		s.word("false")
	case 'n':
		s.word("null")
	default:
		s.number()
	}
}

func (s *scanner) word(w string) {
	if end := s.at + len(w); end <= len(s.body) && string(s.body[s.at:end]) == w {
		s.at = end
		return
	}
	s.fail("want %s", w)
}
