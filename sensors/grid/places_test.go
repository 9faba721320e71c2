package grid

import (
	"math"
	"regexp"
	"strings"
	"testing"
)

// The table holds each region once, and each place finds itself by its coordinates.
func TestPlaces(t *testing.T) {
	zone, region := regexp.MustCompile(`^[A-Z]{2}(-[A-Z0-9]+)*$`), regexp.MustCompile(`^(aws|gcp|azure):[a-z]+[a-z0-9-]*$`)
	seen := make(map[string]string)
	for _, p := range places {
		if !zone.MatchString(p.zone) {
			t.Errorf("%s: %q is no zone's name", p.name, p.zone)
		}
		for r := range strings.FieldsSeq(p.regions) {
			if !region.MatchString(r) || seen[r] != "" {
				t.Errorf("%s: region %q is not one, or that of %q too", p.name, r, seen[r])
			}
			seen[r] = p.name
		}
		if got, err := ZoneAt(p.lat, p.lon); err != nil || got != p.zone {
			t.Errorf("%s: its coordinates are in %q (%v), want %q", p.name, got, err, p.zone)
		}
	}
	if len(seen) < 110 {
		t.Errorf("%d regions", len(seen))
	}
	// A quarter of the equator, and London to Paris.
	if d := distanceKm(0, 0, 0, 90); math.Abs(d-math.Pi/2*earthKm) > 1e-6 {
		t.Errorf("a quarter of the equator is %v km", d)
	}
	if d := distanceKm(51.5074, -0.1278, 48.8566, 2.3522); math.Abs(d-343.5) > 1 {
		t.Errorf("London to Paris is %v km, want about 343.5", d)
	}
}
