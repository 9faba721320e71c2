package model

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"
)

// maxNesting bounds the nesting of arrays and objects in any file read here.
const maxNesting = 64

// scan reads all of data once and refuses what encoding/json would let pass: a key given twice, nesting
// without end, text that is not UTF-8, and anything after the value.
func scan(data []byte) error {
	if len(data) > MaxSize {
		return fmt.Errorf("%d bytes: at most %d are allowed", len(data), MaxSize)
	}
	if !utf8.Valid(data) {
		return errors.New("not UTF-8 text")
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	type level struct {
		keys map[string]bool // nil in an array
		key  bool            // the next token is a key
	}
	var stack []level
	for {
		t, err := d.Token()
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return fmt.Errorf("line %d: %w", lineOf(data, d.InputOffset()), err)
		}
		top := len(stack) - 1
		if top >= 0 && stack[top].key {
			if k, ok := t.(string); ok {
				if stack[top].keys[k] {
					return fmt.Errorf("line %d: field %q is given twice", lineOf(data, d.InputOffset()), k)
				}
				stack[top].keys[k] = true
				stack[top].key = false
				continue
			}
		}
		switch t {
		case json.Delim('{'):
			stack = append(stack, level{keys: make(map[string]bool), key: true})
		case json.Delim('['):
			stack = append(stack, level{})
		case json.Delim('}'), json.Delim(']'):
			stack = stack[:top]
			top--
			fallthrough
		default:
			if top >= 0 && stack[top].keys != nil {
				stack[top].key = true
			}
		}
		if len(stack) > maxNesting {
			return fmt.Errorf("line %d: nested more than %d deep", lineOf(data, d.InputOffset()), maxNesting)
		}
		if len(stack) == 0 {
			break
		}
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("line %d: text after the value", lineOf(data, d.InputOffset()))
	}
	return nil
}

func lineOf(data []byte, offset int64) int {
	return 1 + bytes.Count(data[:min(int(offset), len(data))], []byte{'\n'})
}
