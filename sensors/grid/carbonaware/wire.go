package carbonaware

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// The shapes of version 1.8 of the SDK: its records EmissionsData, EmissionsDataDTO, EmissionsForecastDTO and
// CarbonIntensityDTO and Location, as its user documentation shows them.

// An emission is one value of the past. A null rating is not known.
type emission struct {
	Location string    `json:"location"`
	Time     time.Time `json:"time"`
	Rating   *float64  `json:"rating"` // g/kWh
	Duration span      `json:"duration"`
}

// A forecast is one location's.
type forecast struct {
	GeneratedAt time.Time `json:"generatedAt"`
	RequestedAt time.Time `json:"requestedAt"`
	Location    string    `json:"location"`
	DataStartAt time.Time `json:"dataStartAt"`
	DataEndAt   time.Time `json:"dataEndAt"`
	WindowSize  int       `json:"windowSize"` // minutes
	Optimal     []datum   `json:"optimalDataPoints"`
	Data        []datum   `json:"forecastData"`
}

// A datum is one value of a forecast.
type datum struct {
	Location  string    `json:"location"`
	Timestamp time.Time `json:"timestamp"`
	Duration  int       `json:"duration"` // minutes
	Value     *float64  `json:"value"`    // g/kWh
}

// A mean is the average over a time that was asked for.
type mean struct {
	Location  string    `json:"location"`
	StartTime time.Time `json:"startTime"`
	EndTime   time.Time `json:"endTime"`
	Intensity float64   `json:"carbonIntensity"` // g/kWh
}

// A location is where a name of the dictionary of locations stands for; coordinates are null where they are not known.
type location struct {
	Latitude  *float64 `json:"latitude"`
	Longitude *float64 `json:"longitude"`
	Name      string   `json:"name"`
}

// maxMinutes bounds a duration: beyond it no point is valid.
const maxMinutes = 8 * 24 * 60

// A span is a duration in .NET's text form, [d.]hh:mm:ss[.fffffff].
type span time.Duration

// MarshalJSON writes what UnmarshalJSON reads.
func (s span) MarshalJSON() ([]byte, error) {
	d := time.Duration(s)
	if d < 0 {
		return nil, fmt.Errorf("duration %v is negative", d)
	}
	text := fmt.Sprintf("%02d:%02d:%02d", d/time.Hour%24, d/time.Minute%60, d/time.Second%60)
	if days := d / (24 * time.Hour); days > 0 {
		text = fmt.Sprintf("%d.%s", days, text)
	}
	return json.Marshal(text)
}

// UnmarshalJSON reads the text form. Null leaves the span 0.
func (s *span) UnmarshalJSON(b []byte) error {
	var text *string
	if err := json.Unmarshal(b, &text); err != nil || text == nil {
		return err
	}
	bad := fmt.Errorf("duration %.40q: want [d.]hh:mm:ss", *text)
	parts := strings.Split(*text, ":")
	if len(parts) != 3 {
		return bad
	}
	days, hours, ok := strings.Cut(parts[0], ".")
	if !ok {
		days, hours = "0", parts[0]
	}
	seconds, _, _ := strings.Cut(parts[2], ".")
	total := time.Duration(0)
	for _, p := range []struct {
		text string
		most int
		unit time.Duration
	}{{days, maxMinutes / (24 * 60), 24 * time.Hour}, {hours, 23, time.Hour}, {parts[1], 59, time.Minute}, {seconds, 59, time.Second}} {
		n, err := strconv.Atoi(p.text)
		if err != nil || n > p.most || strings.Trim(p.text, "0123456789") != "" {
			return bad
		}
		total += time.Duration(n) * p.unit
	}
	*s = span(total)
	return nil
}
