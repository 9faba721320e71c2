package trace

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// ParseColumns reads a column map as a flag gives it: KEY=VALUE pairs with commas between them, where a key is a field of [Columns] in lower case and
// the value the name of a column (class and header: several, joined by +), a number (cpuunit, memoryunit, gpuunit, useunit), a duration
// (timeunit: 1us, 1s, 1h), a character (comma; tab is a word for it) or a truth (timestamps, buckets). For example
//
//	arrival=submit_us,end=end_us,timeunit=1us,cpu=request,cpuunit=64,class=user+priority
func ParseColumns(text string) (Columns, error) {
	var c Columns
	name := func(to *string) func(string) error { return func(v string) error { *to = v; return nil } }
	names := func(to *[]string) func(string) error {
		return func(v string) error { *to = strings.Split(v, "+"); return nil }
	}
	unit := func(to *float64) func(string) error {
		return func(v string) error {
			f, err := number(v)
			if err == nil && !(f > 0) {
				err = fmt.Errorf("%v is not above 0", v)
			}
			*to = f
			return err
		}
	}
	truth := func(to *bool) func(string) error {
		return func(v string) (err error) { *to, err = strconv.ParseBool(v); return err }
	}
	keys := map[string]func(string) error{
		"name": name(&c.Name), "arrival": name(&c.Arrival), "duration": name(&c.Duration), "end": name(&c.End), "start": name(&c.Start),
		"cpu": name(&c.CPU), "memory": name(&c.Memory), "gpu": name(&c.GPU), "gputimes": name(&c.GPUTimes), "use": name(&c.Use),
		"priority": name(&c.Priority), "deadline": name(&c.Deadline), "class": names(&c.Class), "header": names(&c.Header),
		"cpuunit": unit(&c.CPUUnit), "memoryunit": unit(&c.MemoryUnit), "gpuunit": unit(&c.GPUUnit), "useunit": unit(&c.UseUnit),
		"timestamps": truth(&c.Timestamps), "buckets": truth(&c.Buckets),
		"timeunit": func(v string) (err error) {
			if c.TimeUnit, err = time.ParseDuration(v); err == nil && c.TimeUnit <= 0 {
				err = fmt.Errorf("%v is not above 0", v)
			}
			return err
		},
		"comma": func(v string) error {
			if v == "tab" {
				v = "\t"
			}
			r, n := utf8.DecodeRuneInString(v)
			if n != len(v) || r == utf8.RuneError || r == '"' || r == '\n' || r == '\r' {
				return fmt.Errorf("%q is not one character that separates columns", v)
			}
			c.Comma = r
			return nil
		},
	}
	for field := range strings.SplitSeq(text, ",") {
		k, v, ok := strings.Cut(field, "=")
		set := keys[strings.TrimSpace(k)]
		v = strings.TrimSpace(v)
		switch {
		case !ok || v == "":
			return c, fmt.Errorf("column map: %q is not KEY=VALUE", field)
		case set == nil:
			return c, fmt.Errorf("column map: no key is named %q; there are %s", strings.TrimSpace(k), strings.Join(slices.Sorted(maps.Keys(keys)), ", "))
		}
		if err := set(v); err != nil {
			return c, fmt.Errorf("column map: %s: %w", k, err)
		}
	}
	if c.Arrival == "" || c.Duration == "" && c.End == "" {
		return c, errNoTimes
	}
	for _, p := range []*string{&c.Name, &c.Arrival, &c.Duration, &c.End, &c.Start, &c.CPU, &c.Memory, &c.GPU, &c.GPUTimes, &c.Use, &c.Priority, &c.Deadline} {
		*p = strings.ToLower(*p) // as names of columns are compared
	}
	for _, l := range [][]string{c.Class, c.Header} {
		for i := range l {
			l[i] = strings.ToLower(l[i])
		}
	}
	return c, nil
}
