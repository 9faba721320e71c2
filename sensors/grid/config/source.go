package config

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/leastwatt/leastwatt/internal/boundedhttp"
	"github.com/leastwatt/leastwatt/sensors/grid"
	"github.com/leastwatt/leastwatt/sensors/grid/carbonaware"
	"github.com/leastwatt/leastwatt/sensors/grid/electricitymaps"
	"github.com/leastwatt/leastwatt/sensors/grid/neso"
	"github.com/leastwatt/leastwatt/sensors/grid/promgrid"
	"github.com/leastwatt/leastwatt/sensors/grid/watttime"
	"github.com/leastwatt/leastwatt/sensors/prometheus"
)

// source is one source of a signal.
type source struct {
	Type     string        `yaml:"type" required:"true" enum:"static,csv,profile,time-of-use,neso,electricity-maps,watttime,prometheus,carbon-aware"`
	Zones    []string      `yaml:"zones" doc:"the only zones that it is asked for (all)"`
	Interval time.Duration `yaml:"interval" doc:"between two requests for a zone (5m)"`
	MaxAge   time.Duration `yaml:"maxAge" doc:"for how long a value is used after its end when there is no newer one (1h); then what the provider has forecast last, for a day"`

	Value   *float64 `yaml:"value" doc:"static: the value"`
	Profile string   `yaml:"profile" doc:"profile: static:V, sine:mean:amplitude:periodSec or randwalk:min:max:stepSec"`
	File    string   `yaml:"file" doc:"csv: a time column, then one column a zone"`
	Scale   float64  `yaml:"scale" doc:"csv and prometheus: multiplies each value (1, or what the header or label says)"`

	Currency string `yaml:"currency" doc:"of the prices of this source, if it is one of rates (that of the section)"`

	Base     *float64 `yaml:"base" doc:"time-of-use: the price where no rate holds"`
	Location string   `yaml:"location" doc:"time-of-use and csv: whose clock (UTC)"`
	Rates    []rate   `yaml:"rates" doc:"time-of-use: the first that holds decides"`
	Holidays []string `yaml:"holidays" doc:"time-of-use: days that count as Sundays: 2026-04-03, or 12-25 for every year"`

	URL          string        `yaml:"url"`
	User         string        `yaml:"user"`
	PasswordFile string        `yaml:"passwordFile" doc:"file with the password, read at every use"`
	PasswordEnv  string        `yaml:"passwordEnv" doc:"environment variable with the password"`
	TokenFile    string        `yaml:"tokenFile" doc:"file with a token, read at every use"`
	TokenEnv     string        `yaml:"tokenEnv" doc:"environment variable with a token"`
	TLS          *tlsSettings  `yaml:"tls" doc:"how the endpoint is verified (by the system's roots)"`
	Timeout      time.Duration `yaml:"timeout" doc:"of one request (10s)"`

	Measured  bool              `yaml:"measured" doc:"electricity-maps: values that the provider has only estimated are not known"`
	Locations map[string]string `yaml:"locations" doc:"carbon-aware: the server's names of zones, where they differ"`
	Answers   map[string]string `yaml:"answers" doc:"carbon-aware: the names that its data of zones bear, where they are not those asked for"`

	Expr     string `yaml:"expr" doc:"prometheus: PromQL with one series a zone (what grid-intensity-go exports)"`
	Time     string `yaml:"time" doc:"prometheus: PromQL for when that was scraped"`
	Label    string `yaml:"label" doc:"prometheus: the label that names the zone (location)"`
	Provider string `yaml:"provider" doc:"prometheus: the provider of grid-intensity-go's metric"`
}

type rate struct {
	Days  []string `yaml:"days" doc:"sun, mon, tue, wed, thu, fri, sat (all)"`
	From  string   `yaml:"from" required:"true" doc:"time of day, 00:00"`
	Until string   `yaml:"until" required:"true" doc:"time of day, at most 24:00"`
	First string   `yaml:"first" doc:"first day of a season, as 06-01 (all the year)"`
	Last  string   `yaml:"last" doc:"last day of the season, as 09-30"`
	Price float64  `yaml:"price" required:"true"`
}

type tlsSettings struct {
	CAFile             string `yaml:"caFile" doc:"PEM file of the authorities to trust"`
	CertFile           string `yaml:"certFile" doc:"PEM file of a client certificate"`
	KeyFile            string `yaml:"keyFile" doc:"PEM file of its key"`
	ServerName         string `yaml:"serverName" doc:"the name to verify"`
	InsecureSkipVerify bool   `yaml:"insecureSkipVerify" doc:"do not verify, for this endpoint alone"`
}

// source makes one source, which remembers what it was told.
func (c *Config) source(s *source, want grid.Signal) (grid.Source, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	src, err := c.provider(s, want)
	if err != nil {
		return nil, err
	}
	if src.Signal() == grid.Price && s.Type != "csv" { // which has converted what its columns say
		if src, err = c.convert(s, src); err != nil {
			return nil, err
		}
	}
	switch s.Type {
	case "neso", "electricity-maps", "watttime", "prometheus", "carbon-aware":
		src = grid.NewCached(src, grid.CacheOptions{Interval: s.Interval, MaxAge: s.MaxAge, Foresight: 24 * time.Hour})
	}
	if len(s.Zones) > 0 {
		o := only{src, make(map[string]bool, len(s.Zones))}
		for _, z := range s.Zones {
			o.zones[z] = true
		}
		src = o
	}
	return src, nil
}

// use is a field that is for some types alone.
type use struct {
	given bool
	types string
}

func (s *source) fields() map[string]use {
	const remote = "neso electricity-maps watttime prometheus carbon-aware"
	return map[string]use{
		"value": {s.Value != nil, "static"}, "profile": {s.Profile != "", "profile"}, "file": {s.File != "", "csv"},
		"scale": {s.Scale != 0, "csv prometheus"}, "currency": {s.Currency != "", "static csv profile time-of-use prometheus"}, "base": {s.Base != nil, "time-of-use"}, "location": {s.Location != "", "time-of-use csv"},
		"rates": {s.Rates != nil, "time-of-use"}, "holidays": {s.Holidays != nil, "time-of-use"}, "url": {s.URL != "", remote}, "user": {s.User != "", "watttime prometheus"},
		"passwordFile": {s.PasswordFile != "", "watttime prometheus"}, "passwordEnv": {s.PasswordEnv != "", "watttime prometheus"},
		"tokenFile": {s.TokenFile != "", "electricity-maps prometheus"}, "tokenEnv": {s.TokenEnv != "", "electricity-maps prometheus"},
		"tls": {s.TLS != nil, remote}, "timeout": {s.Timeout != 0, remote}, "interval": {s.Interval != 0, remote}, "maxAge": {s.MaxAge != 0, remote},
		"measured": {s.Measured, "electricity-maps"}, "locations": {s.Locations != nil, "carbon-aware"}, "answers": {s.Answers != nil, "carbon-aware"},
		"expr": {s.Expr != "", "prometheus"}, "time": {s.Time != "", "prometheus"}, "label": {s.Label != "", "prometheus"}, "provider": {s.Provider != "", "prometheus"},
	}
}

// needed says which fields a type needs.
var needed = map[string]string{"static": "value", "csv": "file", "profile": "profile", "time-of-use": "base", "neso": "url",
	"electricity-maps": "url", "watttime": "url user", "prometheus": "url", "carbon-aware": "url"}

func (s *source) check() error {
	fields := s.fields()
	var errs []error
	for name, f := range fields {
		if f.given && !contains(f.types, s.Type) {
			errs = append(errs, fmt.Errorf("%s is for %s", name, strings.ReplaceAll(f.types, " ", ", ")))
		}
	}
	for name := range strings.FieldsSeq(needed[s.Type]) {
		if !fields[name].given {
			errs = append(errs, fmt.Errorf("%s is missing", name))
		}
	}
	if strings.Contains(s.URL, "@") {
		errs = append(errs, errors.New("url holds an @: give user and passwordFile instead of credentials in the URL"))
	}
	if s.PasswordFile != "" && s.PasswordEnv != "" || s.TokenFile != "" && s.TokenEnv != "" {
		errs = append(errs, errors.New("a credential is in a file or in the environment, not in both"))
	}
	if s.Interval < 0 || s.MaxAge < 0 || s.Timeout < 0 || s.Scale < 0 {
		errs = append(errs, errors.New("interval, maxAge, timeout and scale are not below 0"))
	}
	return errors.Join(errs...)
}

func contains(words, word string) bool {
	for w := range strings.FieldsSeq(words) {
		if w == word {
			return true
		}
	}
	return false
}

func (c *Config) provider(s *source, want grid.Signal) (grid.Source, error) {
	switch s.Type {
	case "static":
		k := constant{want, *s.Value, c.currency(s)}
		p, _ := k.Current(context.Background(), "static") // asks nobody
		return k, p.Validate()
	case "profile":
		return grid.ParseProfile(s.Profile, want, 1, nil)
	case "csv":
		return c.csv(s, want)
	case "time-of-use":
		return c.timeOfUse(s)
	}
	o, err := c.tls(s.TLS)
	if err != nil {
		return nil, err
	}
	password, token := c.secret(s.PasswordFile, s.PasswordEnv), c.secret(s.TokenFile, s.TokenEnv)
	switch s.Type {
	case "neso":
		return neso.New(s.URL, neso.Options{Timeout: s.Timeout, TLS: o})
	case "electricity-maps":
		return electricitymaps.New(s.URL, token, electricitymaps.Options{Direct: want == grid.AverageDirect, Price: want == grid.Price, Measured: s.Measured, Timeout: s.Timeout, TLS: o})
	case "watttime":
		if password == nil {
			return nil, errors.New("passwordFile is missing")
		}
		return watttime.New(s.URL, func() (string, string, error) {
			p, err := password()
			return s.User, p, err
		}, watttime.Options{Average: want == grid.AverageDirect, Timeout: s.Timeout, TLS: o})
	case "prometheus":
		q := promgrid.Query{Signal: want, Expr: s.Expr}
		if q.Expr == "" {
			if want == grid.Price {
				return nil, errors.New("expr is missing")
			}
			q = promgrid.GridIntensity(want, s.Provider)
		}
		q.Time, q.Label, q.Scale = s.Time, s.Label, s.Scale
		if want == grid.Price {
			q.Currency = c.currency(s)
		}
		return promgrid.New(prometheus.Endpoint{URL: s.URL, User: s.User, PasswordFrom: password, TokenFrom: token, TLS: o}, q, promgrid.Options{Timeout: s.Timeout})
	case "carbon-aware":
		return carbonaware.New(s.URL, want, carbonaware.Options{Locations: s.Locations, Answers: s.Answers, Timeout: s.Timeout, TLS: o})
	}
	return nil, fmt.Errorf("%q is not built in", s.Type)
}

// maxCSV bounds a table's size.
const maxCSV = 64 << 20

func (c *Config) csv(s *source, want grid.Signal) (grid.Source, error) {
	f, err := os.Open(c.path(s.File))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil {
		return nil, err
	} else if info.Size() > maxCSV {
		return nil, fmt.Errorf("%s: %d bytes: at most %d", s.File, info.Size(), maxCSV)
	}
	loc, err := s.location()
	if err != nil {
		return nil, err
	}
	points, err := grid.ReadCSV(f, grid.CSVOptions{Name: s.File, Signal: want, Scale: s.Scale, Currency: c.currency(s), Location: loc})
	if err != nil {
		return nil, err
	}
	if want == grid.Price {
		if err := c.section.Rates.Convert(points, c.section.Currency); err != nil {
			return nil, fmt.Errorf("%s: %w (field rates)", s.File, err)
		}
	}
	return grid.NewSeries(want, points, nil)
}

// location is whose clock a source goes by.
func (s *source) location() (*time.Location, error) {
	loc, err := time.LoadLocation(cmp.Or(s.Location, "UTC"))
	if err != nil {
		return nil, fmt.Errorf("location: %w", err)
	}
	return loc, nil
}

func (c *Config) timeOfUse(s *source) (grid.Source, error) {
	loc, err := s.location()
	if err != nil {
		return nil, err
	}
	rates := make([]grid.Rate, len(s.Rates))
	for i, r := range s.Rates {
		rates[i].Price = r.Price
		for _, d := range r.Days {
			day, ok := weekdays[d]
			if !ok {
				return nil, fmt.Errorf("rates[%d]: day %q: want sun, mon, tue, wed, thu, fri or sat", i, d)
			}
			rates[i].Days = append(rates[i].Days, day)
		}
		if rates[i].From, err = clock(r.From); err == nil {
			rates[i].Until, err = clock(r.Until)
		}
		if err == nil && (r.First != "" || r.Last != "") {
			if rates[i].First, err = grid.ParseDate(r.First); err == nil {
				rates[i].Last, err = grid.ParseDate(r.Last)
			}
		}
		if err != nil {
			return nil, fmt.Errorf("rates[%d]: %w", i, err)
		}
	}
	o := grid.TariffOptions{Location: loc}
	for i, text := range s.Holidays {
		day, err := grid.ParseDate(text)
		if err != nil {
			return nil, fmt.Errorf("holidays[%d]: %w", i, err)
		}
		o.Holidays = append(o.Holidays, day)
	}
	return grid.NewTimeOfUse(c.currency(s), *s.Base, rates, o)
}

func (c *Config) secret(file, env string) func() (string, error) {
	switch {
	case file != "":
		return boundedhttp.File(c.path(file))
	case env != "":
		return boundedhttp.Env(env)
	}
	return nil
}

func (c *Config) tls(t *tlsSettings) (*tls.Config, error) {
	if t == nil {
		return nil, nil
	}
	return boundedhttp.TLS{CAFile: c.path(t.CAFile), CertFile: c.path(t.CertFile), KeyFile: c.path(t.KeyFile),
		ServerName: t.ServerName, InsecureSkipVerify: t.InsecureSkipVerify}.Config()
}

// currency is what a source's prices are in.
func (c *Config) currency(s *source) string { return cmp.Or(s.Currency, c.section.Currency) }

// convert brings a source's prices into the section's currency.
func (c *Config) convert(s *source, src grid.Source) (grid.Source, error) {
	from, to := c.currency(s), c.section.Currency
	switch {
	case s.Type == "electricity-maps": // tells the currency of each zone
		return converted{src, "", to, c.section.Rates}, nil
	case from == to && s.Type == "profile": // knows no currencies
		return converted{src, from, to, nil}, nil
	case from == to:
		return src, nil
	}
	if _, ok := c.section.Rates[from]; !ok {
		return nil, fmt.Errorf("currency is %s, of which rates tells nothing", from)
	}
	return converted{src, from, to, c.section.Rates}, nil
}

// converted is a source whose prices are in another currency; an empty from says that each point tells its own.
type converted struct {
	grid.Source
	from, to string
	rates    grid.Rates
}

func (v converted) all(ps []grid.Point, err error) ([]grid.Point, error) {
	if err != nil {
		return nil, err
	}
	for i := range ps {
		if v.from != "" {
			ps[i].Currency = v.from // also of sources that have none of their own
		}
	}
	return ps, v.rates.Convert(ps, v.to)
}

// Current implements [grid.Source].
func (v converted) Current(ctx context.Context, zone string) (grid.Point, error) {
	p, err := v.Source.Current(ctx, zone)
	ps, err := v.all([]grid.Point{p}, err)
	if err != nil {
		return grid.Point{}, err
	}
	return ps[0], nil
}

// History implements [grid.HistorySource], where the source is one.
func (v converted) History(ctx context.Context, zone string, from, until time.Time) ([]grid.Point, error) {
	return v.all(grid.History(ctx, v.Source, zone, from, until))
}

// Forecast implements [grid.ForecastSource], where the source is one.
func (v converted) Forecast(ctx context.Context, zone string, from, until time.Time) ([]grid.Point, error) {
	return v.all(grid.Forecast(ctx, v.Source, zone, from, until))
}
