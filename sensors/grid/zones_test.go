package grid_test

import (
	"errors"
	"fmt"
	"math"
	"testing"

	"github.com/leastwatt/leastwatt/sensors/grid"
)

func ExampleZoneOfRegion() {
	for _, r := range [][2]string{{"aws", "eu-west-3"}, {"gcp", "us-central1"}, {"azure", "uksouth"}} {
		zone, err := grid.ZoneOfRegion(r[0], r[1])
		fmt.Println(zone, err)
	}
	// Output:
	// FR <nil>
	// US-MIDW-MISO <nil>
	// GB <nil>
}

func TestZoneOfRegion(t *testing.T) {
	// Regions of the three clouds in one town draw from one zone.
	for _, same := range [][][2]string{
		{{"aws", "us-east-1"}, {"gcp", "us-east4"}, {"azure", "eastus"}},
		{{"aws", "eu-central-1"}, {"gcp", "europe-west3"}, {"azure", "germanywestcentral"}},
		{{"AWS", "AP-NORTHEAST-1"}, {"gcp", "asia-northeast1"}, {"Azure", "JapanEast"}},
	} {
		first, err := grid.ZoneOfRegion(same[0][0], same[0][1])
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range same[1:] {
			if zone, err := grid.ZoneOfRegion(r[0], r[1]); err != nil || zone != first {
				t.Errorf("%v: zone %q, error %v, want %q", r, zone, err, first)
			}
		}
	}
	for _, r := range [][3]string{{"aws", "eusc-de-east-1", "DE"}, {"gcp", "asia-southeast3", "TH"}, {"azure", "usgovvirginia", "US-MIDA-PJM"},
		{"azure", "chinaeast2", "CN"}, {"azure", "swedensouth", "SE-SE4"}, {"azure", "jioindiawest", "IN-WE"}} {
		if zone, err := grid.ZoneOfRegion(r[0], r[1]); err != nil || zone != r[2] {
			t.Errorf("%v: zone %q, error %v", r, zone, err)
		}
	}
	for _, r := range [][2]string{{"aws", "eu-west-99"}, {"aws", "uksouth"}, {"aws", ""}, {"", "eu-west-1"}, {"oracle", "eu-west-1"}, {"aws", "eu-west-1 gcp:us-east4"}, {"aws:eu-west-1 gcp", "us-east4"}} {
		if zone, err := grid.ZoneOfRegion(r[0], r[1]); !errors.Is(err, grid.ErrUnknownZone) {
			t.Errorf("%q: zone %q, error %v, want ErrUnknownZone", r, zone, err)
		}
	}
}

func TestZoneAt(t *testing.T) {
	for name, test := range map[string]struct {
		lat, lon float64
		zone     string // "" wants an error
	}{
		"Paris":                               {48.85, 2.35, "FR"},
		"Cambridge":                           {52.2, 0.12, "GB"},
		"Sheffield":                           {53.38, -1.47, "GB"},
		"Douglas, between two islands":        {54.15, -4.48, ""}, // Belfast, Dublin and Manchester are as near
		"Porto, of a country without regions": {41.15, -8.61, ""}, // 270 km from Lisbon
		"Évora":                               {38.57, -7.9, "PT"},
		"Kutná Hora":                          {49.95, 15.27, "CZ"},
		"Schwechat, beside Vienna":            {48.14, 16.47, "AT"},
		"between Vienna and Bratislava":       {48.15, 16.75, ""},
		"Auckland, across the date line":      {-36.9, 174.7, "NZ"},
		"middle of the Atlantic":              {40, -40, ""},
		"between Frankfurt and Zürich":        {48.75, 8.6, ""},
		"Manama, beside Dammam":               {26.2, 50.6, "BH"},
		"south pole":                          {-90, 0, ""},
		"no latitude":                         {91, 0, ""},
		"no number":                           {math.NaN(), 0, ""},
		"no longitude":                        {0, math.Inf(1), ""},
	} {
		zone, err := grid.ZoneAt(test.lat, test.lon)
		if zone != test.zone || (err == nil) != (test.zone != "") || err != nil && !errors.Is(err, grid.ErrUnknownZone) {
			t.Errorf("%s: zone %q, error %v, want %q", name, zone, err, test.zone)
		}
	}
}
