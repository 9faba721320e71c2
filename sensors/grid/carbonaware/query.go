package carbonaware

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A query is what a client asked, checked.
type query struct {
	locations   []string
	from, until time.Time
	window      time.Duration
}

// A problem is what is wrong with a question.
type problem struct{ field, text string }

func (p *problem) Error() string { return p.field + ": " + p.text }

func parseQuery(raw, path string, o *HandlerOptions) (*query, error) {
	const most = 8 << 10
	if len(raw) > most {
		return nil, &problem{"query", fmt.Sprintf("longer than %d bytes", most)}
	}
	v, err := url.ParseQuery(raw)
	if err != nil {
		return nil, &problem{"query", "not well encoded"}
	}
	v = canonical(v)
	q := &query{locations: v["location"]}
	limit := o.MaxLocations
	if path == "bylocation" || path == "average-carbon-intensity" {
		limit = 1
	}
	switch {
	case len(q.locations) == 0 || slices.Contains(q.locations, ""):
		return nil, &problem{"location", "missing"}
	case len(q.locations) > limit:
		return nil, &problem{"location", fmt.Sprintf("%d of them: at most %d", len(q.locations), limit)}
	}
	start, end := "time", "toTime"
	switch path {
	case "forecasts/current":
		start, end = "dataStartAt", "dataEndAt"
	case "average-carbon-intensity":
		start, end = "startTime", "endTime"
	}
	if q.from, err = parseStamp(v, start); err != nil {
		return nil, err
	}
	if q.until, err = parseStamp(v, end); err != nil {
		return nil, err
	}
	if path == "average-carbon-intensity" && (q.from.IsZero() || q.until.IsZero()) {
		return nil, &problem{start, "startTime and endTime are both needed"}
	}
	if path != "forecasts/current" {
		if q.from.IsZero() && !q.until.IsZero() {
			return nil, &problem{start, "missing, though " + end + " is given"}
		}
		if !q.from.IsZero() && q.until.IsZero() {
			q.until = o.Now().UTC()
		}
	}
	if !q.from.IsZero() && !q.until.IsZero() {
		if d := q.until.Sub(q.from); d <= 0 || d > o.MaxRange {
			return nil, &problem{end, fmt.Sprintf("%v after %s: want more than 0 and at most %v", d, start, o.MaxRange)}
		}
	}
	if w := v.Get("windowSize"); w != "" && path == "forecasts/current" {
		n, err := strconv.Atoi(w)
		if err != nil || n < 1 || n > maxMinutes {
			return nil, &problem{"windowSize", fmt.Sprintf("want full minutes, 1 to %d", maxMinutes)}
		}
		q.window = time.Duration(n) * time.Minute
	}
	return q, nil
}

// canonical spells the names of parameters as they are documented: the SDK's server takes them in any case.
func canonical(v url.Values) url.Values {
	out := make(url.Values, len(v))
	for _, name := range slices.Sorted(maps.Keys(v)) {
		as := name
		for _, known := range [...]string{"location", "time", "toTime", "startTime", "endTime", "dataStartAt", "dataEndAt", "windowSize"} {
			if strings.EqualFold(name, known) {
				as = known
			}
		}
		out[as] = append(out[as], v[name]...)
	}
	return out
}

func parseStamp(v url.Values, field string) (time.Time, error) {
	text := v.Get(field)
	if text == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02"} {
		if t, err := time.Parse(layout, text); err == nil && t.Year() >= 1970 && t.Year() < 2200 {
			return t.UTC(), nil
		}
	}
	return time.Time{}, &problem{field, "not a time: want 2022-03-01T15:30:00Z"}
}
