package prometheus

import (
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"
)

// wellFormed checks what the API library does not: bytes that are no text, and values of a vector or matrix that are no
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
	if a.Data.ResultType != "vector" && a.Data.ResultType != "matrix" {
		return nil
	}
	var series []struct {
		Value     []json.RawMessage   `json:"value"`
		Values    [][]json.RawMessage `json:"values"`
		Histogram json.RawMessage     `json:"histogram"`
	}
	if err := json.Unmarshal(a.Data.Result, &series); err != nil {
		return err
	}
	for i, s := range series {
		values := s.Values
		if a.Data.ResultType == "vector" && s.Histogram == nil {
			values = append(values, s.Value)
		}
		for _, v := range values {
			if len(v) != 2 || len(v[1]) == 0 || v[1][0] != '"' {
				return fmt.Errorf("series %d of the %s: the value is no pair of a time and a string", i, a.Data.ResultType)
			}
		}
	}
	return nil
}
