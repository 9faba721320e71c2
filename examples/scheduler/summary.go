package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"text/tabwriter"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/spf13/cobra"
)

// maxMetrics bounds the metrics that are read.
const maxMetrics = 64 << 20

// A summary is what shadow mode has counted for one profile.
type summary struct {
	Profile     string   `json:"profile"`
	Same        float64  `json:"same"`    // pods that were placed where the plugin would have placed them
	Other       float64  `json:"other"`   // pods that were placed elsewhere
	Unknown     float64  `json:"unknown"` // too little was known
	Unasked     float64  `json:"unasked"` // one candidate, or scores reused
	SavingWatts float64  `json:"savingWatts"`
	SavedKWh    float64  `json:"savedKWh"`
	SavedGrams  *float64 `json:"savedGrams"` // null where no carbon intensity was known

	SavingGramsPerHour *float64 `json:"savingGramsPerHour"` // null while the carbon intensity is not known
	GramsUnknownHours  float64  `json:"gramsUnknownHours"`  // time that savedGrams leaves out
}

// newSummary returns the command that tells in a table what shadow mode has found.
func newSummary() *cobra.Command {
	asJSON := false
	cmd := &cobra.Command{
		Use:          "shadow-summary [FILE]",
		Short:        "Tell what the plugin in mode shadow would have saved, from the scheduler's metrics in a file or on standard input",
		Example:      `  curl -s --cacert ca.crt -H "Authorization: Bearer $TOKEN" https://127.0.0.1:10259/metrics | scheduler shadow-summary --json`,
		Args:         cobra.MaximumNArgs(1),
		SilenceUsage: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			in := cmd.InOrStdin()
			if len(args) == 1 && args[0] != "-" {
				f, err := os.Open(args[0])
				if err != nil {
					return err
				}
				defer f.Close()
				in = f
			}
			s, err := summarize(in)
			if err != nil {
				return err
			}
			if asJSON {
				e := json.NewEncoder(cmd.OutOrStdout())
				e.SetIndent("", "  ")
				return e.Encode(map[string]any{"profiles": s})
			}
			return printSummary(cmd.OutOrStdout(), s)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "Print JSON.")
	return cmd
}

func summarize(r io.Reader) ([]summary, error) {
	p := expfmt.NewTextParser(model.UTF8Validation)
	families, err := p.TextToMetricFamilies(io.LimitReader(r, maxMetrics))
	if err != nil {
		return nil, fmt.Errorf("metrics: %w", err)
	}
	profiles := make(map[string]*summary)
	each := func(name string, f func(s *summary, labels map[string]string, v float64)) {
		for _, m := range families[name].GetMetric() {
			labels := make(map[string]string)
			for _, l := range m.GetLabel() {
				labels[l.GetName()] = l.GetValue()
			}
			s := profiles[labels["profile"]]
			if s == nil {
				s = &summary{Profile: labels["profile"]}
				profiles[s.Profile] = s
			}
			f(s, labels, value(m))
		}
	}
	each("leastwatt_shadow_decisions_total", func(s *summary, labels map[string]string, v float64) {
		switch labels["result"] {
		case "same":
			s.Same = v
		case "other":
			s.Other = v
		case "unknown":
			s.Unknown = v
		case "unasked":
			s.Unasked = v
		}
	})
	each("leastwatt_shadow_saving_watts", func(s *summary, _ map[string]string, v float64) { s.SavingWatts = v })
	each("leastwatt_shadow_saving_joules", func(s *summary, _ map[string]string, v float64) { s.SavedKWh = v / 3.6e6 })
	each("leastwatt_shadow_saving_grams", func(s *summary, _ map[string]string, v float64) { s.SavedGrams = &v })
	each("leastwatt_shadow_saving_grams_per_hour", func(s *summary, _ map[string]string, v float64) { s.SavingGramsPerHour = &v })
	each("leastwatt_shadow_grams_unknown_seconds_total", func(s *summary, _ map[string]string, v float64) { s.GramsUnknownHours = v / 3600 })
	if len(profiles) == 0 {
		return nil, errors.New("metrics: there is none of shadow mode: does a profile have the plugin with mode: shadow?")
	}
	out := make([]summary, 0, len(profiles))
	for _, s := range profiles {
		out = append(out, *s)
	}
	slices.SortFunc(out, func(a, b summary) int { return cmp.Compare(a.Profile, b.Profile) })
	return out, nil
}

func value(m *dto.Metric) float64 {
	if m.Counter != nil {
		return m.Counter.GetValue()
	}
	return m.GetGauge().GetValue()
}

func printSummary(w io.Writer, all []summary) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "profile\tsame node\tother node\tunknown\tunasked\tsaving now W\tgCO2eq/h\tsaved kWh\tgCO2eq\t")
	for _, s := range all {
		fmt.Fprintf(t, "%s\t%.0f\t%.0f\t%.0f\t%.0f\t%.2f\t%s\t%.4f\t%s\t\n", s.Profile, s.Same, s.Other, s.Unknown, s.Unasked, s.SavingWatts, grams(s.SavingGramsPerHour),
			s.SavedKWh, grams(s.SavedGrams))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, s := range all {
		if s.GramsUnknownHours > 0 {
			fmt.Fprintf(w, "%s: the grams leave out %.2f h in which the carbon intensity was not known\n", s.Profile, s.GramsUnknownHours)
		}
	}
	return nil
}

func grams(g *float64) string {
	if g == nil {
		return "–"
	}
	return fmt.Sprintf("%.1f", *g)
}
