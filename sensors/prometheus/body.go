package prometheus

import (
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"
)

// wellFormed checks what the API library does not: bytes that are no text, and a vector's values that are no
// strings, of which it makes 0.
func wellFormed(body []byte) error {
	if !utf8.Valid(body) {
		return errors.New("invalid UTF-8")
	}
	var a struct {
		Data struct {
			ResultType string          `json:"resultType"`
			Result     json.RawMessage `json:"result"`
		} `json:"data"`
	}
	if err := json.Unmarshal(body, &a); err != nil {
		return err
	}
	if a.Data.ResultType != "vector" {
		return nil
	}
	var series []struct {
		Value     []json.RawMessage `json:"value"`
		Histogram json.RawMessage   `json:"histogram"`
	}
	if err := json.Unmarshal(a.Data.Result, &series); err != nil {
		return err
	}
	for i, s := range series {
		if s.Histogram == nil && (len(s.Value) != 2 || len(s.Value[1]) == 0 || s.Value[1][0] != '"') {
			return fmt.Errorf("series %d of the vector: the value is no pair of a time and a string", i)
		}
	}
	return nil
}
