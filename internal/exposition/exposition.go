// Package exposition reads Prometheus' text format with Prometheus' own parser, and keeps what is good of an
// answer that is partly bad: exporters pass on what devices say, and devices say "N/A".
package exposition

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// A Sample is one line: a gauge, a counter, or a value without a type.
type Sample struct {
	Name   string
	Labels map[string]string
	Value  float64   // finite
	At     time.Time // the line's own time stamp; zero if it has none
}

// Samples are those of one answer, in the order of the text.
type Samples []Sample

// Named returns the samples of a metric.
func (s Samples) Named(name string) Samples {
	return s.filter(func(x *Sample) bool { return x.Name == name })
}

// Where returns the samples that have all of the labels' values.
func (s Samples) Where(labels map[string]string) Samples {
	return s.filter(func(x *Sample) bool {
		for k, v := range labels {
			if x.Labels[k] != v {
				return false
			}
		}
		return true
	})
}

func (s Samples) filter(keep func(*Sample) bool) Samples {
	var out Samples
	for i := range s {
		if keep(&s[i]) {
			out = append(out, s[i])
		}
	}
	return out
}

// MaxSamples bounds how many samples of the wanted metrics an answer may have.
const MaxSamples = 100_000

// ErrTooMany says that an answer has more than MaxSamples samples.
var ErrTooMany = errors.New("too many samples")

// Parse returns the samples of the metrics that want names, and an error for lines of theirs that cannot be
// read or are infinite. NaN, which is how exporters write that a sensor gives nothing, is left out; of two
// samples with the same labels the first counts. Samples and error may come together. Lines of other metrics are not looked at. A text without
// a single line of any metric is an error: it is no exposition.
func Parse(text []byte, want ...string) (Samples, error) {
	var kept bytes.Buffer
	metrics, lines := 0, 0
	for line := range bytes.Lines(text) {
		name, declares := metricOf(line)
		if name == "" {
			continue
		}
		wanted := slices.Contains(want, name)
		if wanted || hasValue(line) {
			metrics++
		}
		if wanted {
			kept.Write(bytes.TrimRight(line, "\r\n"))
			kept.WriteByte('\n')
			if !declares {
				lines++
			}
		}
	}
	if metrics == 0 {
		return nil, errors.New("no line of a metric: not Prometheus' text format")
	}
	if lines > MaxSamples {
		return nil, fmt.Errorf("%w: %d, at most %d", ErrTooMany, lines, MaxSamples)
	}
	families, err := parse(kept.Bytes())
	if err == nil {
		return collect(families, want)
	}
	// Something is bad: read line by line, and lose only what is.
	var out Samples
	var errs []error
	for line := range bytes.Lines(kept.Bytes()) {
		if _, declares := metricOf(line); declares {
			continue
		}
		families, err := parse(line)
		var some Samples
		if err == nil {
			some, err = collect(families, want)
		}
		out = append(out, some...)
		if err != nil && len(errs) < 8 {
			errs = append(errs, fmt.Errorf("line %q: %w", clip(line), err))
		}
	}
	return dedupe(out), errors.Join(errs...)
}

// metricOf returns the metric that a line is of, and whether it is a comment that declares it.
func metricOf(line []byte) (name string, declares bool) {
	s := strings.TrimLeft(string(line[:min(len(line), 512)]), " \t")
	if rest, ok := strings.CutPrefix(s, "# TYPE "); ok {
		s, declares = rest, true
	} else if strings.HasPrefix(s, "#") {
		return "", false
	}
	end := strings.IndexAny(s, "{ \t\r\n")
	if end <= 0 || !model.LegacyValidation.IsValidMetricName(s[:end]) {
		return "", false
	}
	return s[:end], declares
}

// hasValue reports whether a line looks like a sample, as prose does not.
func hasValue(line []byte) bool {
	if i := bytes.LastIndexByte(line, '}'); i >= 0 {
		line = line[i:]
	}
	f := bytes.Fields(line)
	if len(f) < 2 || len(f) > 3 {
		return false
	}
	_, err := strconv.ParseFloat(string(f[1]), 64)
	return err == nil
}

func parse(text []byte) (map[string]*dto.MetricFamily, error) {
	if !utf8.Valid(text) {
		return nil, errors.New("invalid UTF-8")
	}
	p := expfmt.NewTextParser(model.LegacyValidation)
	return p.TextToMetricFamilies(bytes.NewReader(text))
}

func collect(families map[string]*dto.MetricFamily, want []string) (Samples, error) {
	var out Samples
	var errs []error
	for _, name := range want {
		for _, m := range families[name].GetMetric() {
			s := Sample{Name: name, Labels: make(map[string]string, len(m.GetLabel()))}
			switch {
			case m.Gauge != nil:
				s.Value = m.Gauge.GetValue()
			case m.Counter != nil:
				s.Value = m.Counter.GetValue()
			case m.Untyped != nil:
				s.Value = m.Untyped.GetValue()
			default:
				errs = append(errs, fmt.Errorf("%s is a histogram or summary", name))
				continue
			}
			for _, l := range m.GetLabel() {
				s.Labels[l.GetName()] = l.GetValue()
			}
			if math.IsNaN(s.Value) {
				continue // how exporters write that a sensor gives nothing
			}
			if math.IsInf(s.Value, 0) {
				if len(errs) < 8 {
					errs = append(errs, fmt.Errorf("%s is %v", name, s.Value))
				}
				continue
			}
			if m.TimestampMs != nil {
				s.At = time.UnixMilli(m.GetTimestampMs())
			}
			out = append(out, s)
		}
	}
	return dedupe(out), errors.Join(errs...)
}

func dedupe(s Samples) Samples {
	seen := make(map[string]bool, len(s))
	return s.filter(func(x *Sample) bool {
		k := x.Key()
		if seen[k] {
			return false
		}
		seen[k] = true
		return true
	})
}

// Key returns the series that the sample belongs to: name and labels.
func (s *Sample) Key() string {
	names := make([]string, 0, len(s.Labels))
	for n := range s.Labels {
		names = append(names, n)
	}
	slices.Sort(names)
	var b strings.Builder
	b.WriteString(s.Name)
	for _, n := range names {
		fmt.Fprintf(&b, "\xff%s\xff%s", n, s.Labels[n])
	}
	return b.String()
}

func clip(line []byte) string {
	line = bytes.TrimSpace(line)
	return string(line[:min(len(line), 120)])
}
