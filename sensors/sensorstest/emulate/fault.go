package emulate

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"strings"
	"time"
)

// A Fault is a way in which a device misbehaves.
type Fault int

// What any device over HTTP can do wrong.
const (
	NoFault         Fault = iota
	Hang                  // never answers
	HangInBody            // sends the beginning of an answer, and no more
	ResetConnection       // closes the connection instead of answering
	Refuse401             // answers 401, whatever the credentials
	Throttle429           // answers 429 with Retry-After: 60
	Fail500               // answers 500
	Text2MB               // answers 2 MB of text
	EndlessBody           // answers with a body that does not end
	GzipBomb              // the same, compressed
	RedirectAway          // redirects to RedirectTo
	RedirectLoop          // redirects to itself
	InvalidUTF8           // answers with bytes that are no text

	// What only a device that measures can do wrong.
	NullReadings // every reading is null, or missing
	WrongType    // "N/A" for a number, and other types than the schema's
	NotANumber   // NaN, which JSON does not have
	TooLarge     // 1e308 for every reading
	Negative     // every reading is negative
	NoInlet      // lacks the inlet sensor
	ClockBehind  // readings are an hour old
	ClockAhead   // readings are of an hour later
	Duplicates   // every sensor twice, with other values
	ManySensors  // 10,000 sensors
)

// fault answers a request in the manner of the faults that need no readings, and tells whether it did.
func fault(f Fault, redirectTo string, w http.ResponseWriter, r *http.Request) bool {
	switch f {
	case Hang:
		<-r.Context().Done()
		panic(http.ErrAbortHandler) // to return is to answer, which one who is about to go may still read
	case HangInBody:
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"@odata.id": "`)
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
		panic(http.ErrAbortHandler) // do not end the answer well for one who is about to go
	case ResetConnection:
		panic(http.ErrAbortHandler)
	case Refuse401:
		w.Header().Set("WWW-Authenticate", `Basic realm="device"`)
		http.Error(w, "unauthorized", http.StatusUnauthorized)
	case Throttle429:
		w.Header().Set("Retry-After", "60")
		http.Error(w, "too many requests", http.StatusTooManyRequests)
	case Fail500:
		http.Error(w, "internal error", http.StatusInternalServerError)
	case Text2MB:
		_, _ = io.WriteString(w, strings.Repeat("lorem ipsum dolor sit amet\n", 2<<20/27))
	case EndlessBody:
		_, _ = io.Copy(w, forever{})
	case GzipBomb:
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		_, _ = io.Copy(z, forever{})
	case RedirectAway:
		http.Redirect(w, r, redirectTo, http.StatusFound)
	case RedirectLoop:
		http.Redirect(w, r, r.URL.Path, http.StatusFound)
	case InvalidUTF8:
		_, _ = w.Write(bytes.Repeat([]byte{0xff, 0xfe, '{', 0xc3, 0x28, '"'}, 64))
	default:
		return false
	}
	return true
}

// forever is a text that does not end.
type forever struct{}

func (forever) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}

// measure returns the machine as a device with the fault measures it.
func (f Fault) measure(m Machine, now time.Time) Machine {
	if m.At.IsZero() {
		m.At = now
	}
	each := func(change func(float64) float64) {
		for _, v := range []*float64{&m.Watts, &m.Inlet, &m.Exhaust, &m.CPUTemp, &m.FanRPM, &m.Utilization, &m.CPUWatts,
			&m.DRAMWatts, &m.Joules, &m.CPUJoules, &m.DRAMJoules, &m.GPUWatts, &m.GPUJoules, &m.GPUUtil, &m.GPUTemp, &m.Pressure} {
			*v = change(*v)
		}
	}
	switch f {
	case TooLarge:
		each(func(float64) float64 { return 1e308 })
	case Negative:
		each(func(v float64) float64 { return -max(v, 1) })
	case NoInlet:
		m.Inlet = Blank().Inlet
	case ClockBehind:
		m.At = m.At.Add(-time.Hour)
	case ClockAhead:
		m.At = m.At.Add(time.Hour)
	}
	return m
}
