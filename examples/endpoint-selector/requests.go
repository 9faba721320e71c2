package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
	"strings"
	"time"
)

const (
	maxTrace     = 256 << 20 // bytes read of a trace
	maxIntervals = 2880      // more are summed together
	intervals    = 96        // into which a trace of timestamps is divided
)

// dayPattern is a day of relative request rates in quarter hours: a low night, a rise to a plateau at noon and a
// higher peak in the evening.
func dayPattern() []float64 {
	p := make([]float64, 96)
	for i := range p {
		h := float64(i) / 4
		bump := func(at, width float64) float64 { return math.Exp(-(h - at) * (h - at) / (2 * width * width)) }
		p[i] = 0.12 + 0.55*bump(11.5, 3) + 0.75*bump(20, 2.2) + 0.1*bump(26, 3)
	}
	return p
}

// readRequests reads a trace of requests from a file.
func readRequests(path string) ([]float64, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	p, err := parseRequests(f)
	if err != nil {
		return nil, fmt.Errorf("requests %s: %w", path, err)
	}
	return p, nil
}

// parseRequests reads either numbers, the requests of consecutive intervals, separated by commas or line ends; or a
// CSV whose first column is the time of one request under a header, which it counts in 96 intervals.
func parseRequests(r io.Reader) ([]float64, error) {
	limited := &io.LimitedReader{R: r, N: maxTrace + 1}
	sc := bufio.NewScanner(limited)
	sc.Buffer(nil, 16<<20)
	var counts []float64
	var times []time.Time
	for line := 1; sc.Scan(); line++ {
		text := strings.TrimSpace(sc.Text())
		if text == "" {
			continue
		}
		first, _, _ := strings.Cut(text, ",")
		if line == 1 && strings.EqualFold(first, "timestamp") {
			times = make([]time.Time, 0, 1024)
			continue
		}
		if times != nil {
			t, err := parseTime(first)
			if err != nil {
				return nil, fmt.Errorf("line %d: %w", line, err)
			}
			times = append(times, t)
			continue
		}
		for i, field := range strings.Split(text, ",") {
			v, err := strconv.ParseFloat(strings.TrimSpace(field), 64)
			if err != nil || !(v >= 0 && v <= 1e12) {
				return nil, fmt.Errorf("line %d, field %d: %q is not a number of requests", line, i+1, field)
			}
			counts = append(counts, v)
		}
	}
	if err := sc.Err(); err != nil {
		return nil, err
	}
	if limited.N == 0 {
		return nil, fmt.Errorf("longer than %d bytes", maxTrace)
	}
	if times != nil {
		counts = bin(times)
	}
	counts = fold(counts)
	for _, c := range counts {
		if c > 0 {
			return counts, nil
		}
	}
	return nil, errors.New("no requests in it")
}

func parseTime(s string) (time.Time, error) {
	for _, layout := range []string{"2006-01-02 15:04:05.999999999", time.RFC3339Nano} {
		if t, err := time.Parse(layout, strings.TrimSpace(s)); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is not a time such as 2023-11-16 18:17:03.98 or 2023-11-16T18:17:03Z", s)
}

// bin counts times in equal intervals.
func bin(times []time.Time) []float64 {
	if len(times) == 0 {
		return nil
	}
	from, to := times[0], times[0]
	for _, t := range times {
		if t.Before(from) {
			from = t
		}
		if t.After(to) {
			to = t
		}
	}
	out := make([]float64, intervals)
	width := to.Sub(from)/intervals + 1
	for _, t := range times {
		out[min(int(t.Sub(from)/width), intervals-1)]++
	}
	return out
}

// fold sums neighbours until there are few enough.
func fold(counts []float64) []float64 {
	for len(counts) > maxIntervals {
		half := make([]float64, 0, len(counts)/2+1)
		for i := 0; i < len(counts); i += 2 {
			v := counts[i]
			if i+1 < len(counts) {
				v += counts[i+1]
			}
			half = append(half, v)
		}
		counts = half
	}
	return counts
}
