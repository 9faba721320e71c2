package shift

import (
	"fmt"
	"math"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

// A Policy says how a namespace's work is held back. A zero field is the default policy's, and at last the package's.
type Policy struct {
	// Zone is the grid's zone that the work runs in.
	Zone string `json:"zone,omitempty"`

	// MaxDelay is how long work without a deadline is held; 24h by default.
	MaxDelay *metav1.Duration `json:"maxDelay,omitempty"`

	// Duration is how long work is expected to run that does not tell; 1h by default.
	Duration *metav1.Duration `json:"duration,omitempty"`

	// Margin multiplies durations to tell the latest start; at least 1, by default 1.2.
	Margin float64 `json:"margin,omitempty"`

	// WattsPerCore is what work is expected to draw that does not tell, and PUE the building's factor; 8 and 1 by default.
	WattsPerCore float64 `json:"wattsPerCore,omitempty"`
	PUE          float64 `json:"pue,omitempty"`

	// Budget limits what may be started in a day (UTC).
	Budget *Budget `json:"budget,omitempty"`

	// DryRun releases everything at once and counts what would have been saved.
	DryRun *bool `json:"dryRun,omitempty"`
}

// A Budget is the energy and emissions that work may be started for in a day. Zero does not limit. It counts what work is expected to
// draw by its requests and annotations: who may write these is trusted.
type Budget struct {
	KWhPerDay   float64 `json:"kWhPerDay,omitempty"`
	GramsPerDay float64 `json:"gramsPerDay,omitempty"`

	// Over says what happens to more work: "warn" starts it with a warning, "delay" (the default) holds it until the next day, but never
	// beyond its latest start, and "refuse" does so too and has the webhook ([Controller.Admit]) deny new work; with the others it only warns.
	Over string `json:"over,omitempty"`
}

// Actions of Budget.Over.
const (
	Warn   = "warn"
	Delay  = "delay"
	Refuse = "refuse"
)

// Policies are the policies of all namespaces.
type Policies struct {
	// Default is for namespaces that are not named, and for what a named one leaves out.
	Default Policy `json:"default"`

	Namespaces map[string]Policy `json:"namespaces,omitempty"`

	// Cores limits how many cores of each zone the released work may have requested at once; a zone that is not named is not limited.
	Cores map[string]float64 `json:"cores,omitempty"`
}

// ParsePolicies reads policies in YAML, strictly.
func ParsePolicies(text []byte) (*Policies, error) {
	var p Policies
	if err := yaml.UnmarshalStrict(text, &p); err != nil {
		return nil, fmt.Errorf("policies: %w", err)
	}
	if err := p.Default.validate(); err != nil {
		return nil, fmt.Errorf("policies: default: %w", err)
	}
	for name, n := range p.Namespaces {
		if err := n.validate(); err != nil {
			return nil, fmt.Errorf("policies: namespace %q: %w", name, err)
		}
	}
	for zone, v := range p.Cores {
		if !positive(v) {
			return nil, fmt.Errorf("policies: cores of zone %q are %v: want more than 0", zone, v)
		}
	}
	return &p, nil
}

func positive(v float64) bool { return v > 0 && !math.IsInf(v, 0) }

func (p *Policy) validate() error {
	for name, v := range map[string]float64{"wattsPerCore": p.WattsPerCore, "pue": p.PUE, "margin": p.Margin} {
		if v != 0 && !positive(v) {
			return fmt.Errorf("%s is %v: want more than 0", name, v)
		}
	}
	switch {
	case p.Margin != 0 && p.Margin < 1 || p.Margin > 100:
		return fmt.Errorf("margin is %v: want 1 to 100", p.Margin)
	case p.PUE != 0 && p.PUE < 1:
		return fmt.Errorf("pue is %v: want 1 or more", p.PUE)
	case p.MaxDelay != nil && p.MaxDelay.Duration < 0:
		return fmt.Errorf("maxDelay is %v: want 0 or more", p.MaxDelay.Duration)
	case p.Duration != nil && p.Duration.Duration <= 0:
		return fmt.Errorf("duration is %v: want more than 0", p.Duration.Duration)
	}
	if b := p.Budget; b != nil {
		if b.KWhPerDay < 0 || b.GramsPerDay < 0 || math.IsNaN(b.KWhPerDay+b.GramsPerDay) {
			return fmt.Errorf("budget: %v kWh and %v g a day: want 0 or more", b.KWhPerDay, b.GramsPerDay)
		}
		if b.Over != "" && !slices.Contains([]string{Warn, Delay, Refuse}, b.Over) {
			return fmt.Errorf("budget: over is %q: want warn, delay or refuse", b.Over)
		}
	}
	return nil
}

// Of returns the policy of a namespace, complete but for what has no default.
func (p *Policies) Of(namespace string) Policy {
	out := Policy{MaxDelay: &metav1.Duration{Duration: 24 * time.Hour}, Duration: &metav1.Duration{Duration: time.Hour}, Margin: 1.2, WattsPerCore: 8, PUE: 1, DryRun: new(false)}
	if p == nil {
		return out
	}
	for _, x := range []Policy{p.Default, p.Namespaces[namespace]} {
		if x.Zone != "" {
			out.Zone = x.Zone
		}
		if x.MaxDelay != nil {
			out.MaxDelay = x.MaxDelay
		}
		if x.Duration != nil {
			out.Duration = x.Duration
		}
		if x.Margin != 0 {
			out.Margin = x.Margin
		}
		if x.WattsPerCore != 0 {
			out.WattsPerCore = x.WattsPerCore
		}
		if x.PUE != 0 {
			out.PUE = x.PUE
		}
		if x.Budget != nil {
			out.Budget = x.Budget
		}
		if x.DryRun != nil {
			out.DryRun = x.DryRun
		}
	}
	return out
}
