// Package gridsource opens the grid signal that a program's flags name, with an own forecast where the provider has none.
//
// Its main type is [Feed].
package gridsource

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/leastwatt/leastwatt/sensors/grid"
	"github.com/leastwatt/leastwatt/sensors/grid/carbonaware"
	"github.com/leastwatt/leastwatt/sensors/grid/config"
	"github.com/leastwatt/leastwatt/sensors/grid/electricitymaps"
	"github.com/leastwatt/leastwatt/sensors/grid/forecast"
	"github.com/leastwatt/leastwatt/sensors/grid/neso"
	"github.com/leastwatt/leastwatt/sensors/grid/watttime"
)

// NESO is the address of Great Britain's API, which needs no key.
const NESO = "https://api.carbonintensity.org.uk"

// Usage explains the notation of Open, for the help of a flag.
const Usage = "grid signal: neso[:URL], electricitymaps:URL, watttime:URL, carbonaware:URL (taken as average life-cycle intensity; with WattTime behind it, say which signal in a config), csv:FILE, config:FILE (a YAML file whose section objective names sources of intensity: Prometheus, tariffs, several in order), or a made-up one: static:V, sine:MEAN:AMPLITUDE:PERIOD_SECONDS, randwalk:MIN:MAX:STEP_SECONDS"

// Options tune Open. The zero value works for sources without credentials.
type Options struct {
	// CredentialsFile holds a token, or "user:password" for WattTime. It is read again at every use.
	CredentialsFile string

	HistoryFile string // see [forecast.SourceOptions]

	Zones  []string // to forecast from the start
	Logger *slog.Logger
	Now    func() time.Time // nil means time.Now
}

// A Feed is a source with forecasts, which Run keeps fed.
type Feed struct {
	*forecast.Source
}

// Open returns the source that a flag names, see [Usage]. It asks nothing yet.
func Open(text string, o Options) (*Feed, error) {
	provider, err := open(text, o)
	if err != nil {
		return nil, err
	}
	return Over(provider, o)
}

// Over adds forecasts to a provider.
func Over(provider grid.Source, o Options) (*Feed, error) {
	f, err := forecast.NewSource(grid.NewCached(provider, grid.CacheOptions{Now: o.Now}), forecast.SourceOptions{Zones: o.Zones, File: o.HistoryFile, Logger: o.Logger, Now: o.Now})
	if err != nil {
		return nil, err
	}
	return &Feed{f}, nil
}

func open(text string, o Options) (grid.Source, error) {
	kind, rest, _ := strings.Cut(text, ":")
	credentials := func() (string, error) { return credential(o.CredentialsFile) }
	switch kind {
	case "neso":
		return neso.New(cmp.Or(rest, NESO), neso.Options{})
	case "electricitymaps":
		return electricitymaps.New(rest, credentials, electricitymaps.Options{Now: o.Now})
	case "watttime":
		return watttime.New(rest, func() (string, string, error) {
			text, err := credentials()
			if err != nil {
				return "", "", err
			}
			user, password, ok := strings.Cut(text, ":")
			if !ok {
				return "", "", fmt.Errorf("%s: want user:password", o.CredentialsFile)
			}
			return user, password, nil
		}, watttime.Options{Now: o.Now})
	case "carbonaware":
		return carbonaware.New(rest, grid.AverageLifeCycle, carbonaware.Options{Now: o.Now})
	case "csv":
		f, err := os.Open(rest)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		points, err := grid.ReadCSV(f, grid.CSVOptions{Name: filepath.Base(rest)})
		if err != nil {
			return nil, err
		}
		return grid.NewSeries(grid.AverageLifeCycle, points, o.Now)
	case "config":
		return section(rest)
	case "static", "sine", "randwalk":
		return grid.ParseProfile(text, grid.AverageLifeCycle, 1, o.Now)
	}
	return nil, fmt.Errorf("grid signal %q: want one of %s", text, Usage)
}

// section reads the sources of intensity that the section objective of a YAML file names, as scoring/config has it.
func section(file string) (grid.Source, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var top struct {
		Objective yaml.Node `yaml:"objective"`
	}
	if err := yaml.Unmarshal(text, &top); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if top.Objective.IsZero() {
		return nil, fmt.Errorf("%s: it has no section objective", file)
	}
	c, err := config.ParseSection(file, &top.Objective)
	if err != nil {
		return nil, err
	}
	if c.Intensity == nil {
		return nil, fmt.Errorf("%s: objective: it names no source of intensity", file)
	}
	return c.Intensity, nil
}

func credential(file string) (string, error) {
	const most = 16 << 10
	if file == "" {
		return "", errors.New("no file of credentials is given")
	}
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, most))
	if err != nil {
		return "", err
	}
	text := strings.TrimSpace(string(b))
	if text == "" {
		return "", fmt.Errorf("%s is empty", file)
	}
	return text, nil
}

// An Honest source hides the forecast of one that knows the future, such as a file of the past that is played again: who
// asks gets what was known at the time, and has to forecast.
type Honest struct{ grid.HistorySource }

// Current implements [grid.Source].
func (h Honest) Current(ctx context.Context, zone string) (grid.Point, error) {
	return h.HistorySource.Current(ctx, zone)
}
