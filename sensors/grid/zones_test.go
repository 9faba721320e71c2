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

// What lies behind a border that is near a town of the table is not counted as of that town's zone: towns are of their own zone, or, where two are nearly as
// near, of none that is told.
func TestZoneAtBehindBorders(t *testing.T) {
	for name, test := range map[string]struct {
		lat, lon float64
		zone     string
		known    bool // the answer is the zone, not an error
	}{
		"Shenzhen, beside Hong Kong":         {22.545, 114.068, "CN", true},
		"Dongguan":                           {23.018, 113.749, "CN", true},
		"Foshan":                             {23.027, 113.131, "CN", true},
		"Kowloon":                            {22.317, 114.183, "HK", true},
		"Johor Bahru, beside Singapore":      {1.466, 103.758, "MY-WM", false},
		"Batam":                              {1.149, 104.025, "ID", true},
		"Singapore's centre":                 {1.29, 103.85, "SG", true},
		"San Diego":                          {32.716, -117.165, "US-CAL-CISO", true},
		"Irvine, beside Los Angeles":         {33.684, -117.827, "US-CAL-CISO", true},
		"Chula Vista":                        {32.64, -117.084, "US-CAL-CISO", false},
		"Sacramento":                         {38.582, -121.494, "US-CAL-BANC", true},
		"Los Angeles":                        {34.052, -118.244, "US-CAL-LDWP", true},
		"Denver":                             {39.739, -104.985, "US-NW-PSCO", true},
		"Boulder":                            {40.015, -105.271, "US-NW-PSCO", true},
		"Milwaukee":                          {43.039, -87.906, "US-MIDW-MISO", true},
		"Omaha, over from Council Bluffs":    {41.256, -95.96, "US-CENT-SWPP", true},
		"Buffalo, over from Toronto":         {42.886, -78.878, "US-NY-NYIS", true},
		"Rochester":                          {43.157, -77.615, "US-NY-NYIS", true},
		"Ottawa, over from Gatineau":         {45.411, -75.698, "CA-ON", true},
		"Newark":                             {40.736, -74.172, "US-MIDA-PJM", true},
		"Brooklyn":                           {40.68, -73.94, "US-NY-NYIS", true},
		"Bellingham, south of Vancouver":     {48.759, -122.488, "US-NW-PSEI", true},
		"Tucson":                             {32.222, -110.975, "US-SW-TEPC", true},
		"Lille, beside Saint-Ghislain":       {50.633, 3.058, "FR", true},
		"Metz, south of Luxembourg":          {49.12, 6.173, "FR", true},
		"Freiburg, north of Zürich":          {47.996, 7.849, "DE", true},
		"Annecy, south of Geneva":            {45.9, 6.12, "FR", true},
		"Innsbruck, south of Munich":         {47.263, 11.395, "AT", true},
		"Szczecin, nearest to Berlin":        {53.429, 14.553, "PL", true},
		"Trieste, nearest to Ljubljana":      {45.649, 13.768, "IT-NO", true},
		"Timișoara, nearest to Belgrade":     {45.754, 21.226, "RO", true},
		"Iași, nearest to Chișinău":          {47.167, 27.6, "RO", true},
		"Minsk, nearest to Vilnius":          {53.9, 27.567, "BY", true},
		"Amman, nearest to Tel Aviv":         {31.955, 35.945, "JO", true},
		"Basra, nearest to Kuwait":           {30.509, 47.78, "IQ", true},
		"Phnom Penh":                         {11.562, 104.916, "KH", true},
		"Pyongyang, nearest to Seoul":        {39.034, 125.754, "KP", false},
		"Cotonou, nearest to Lagos":          {6.365, 2.418, "BJ", true},
		"Savannah, nearest to Moncks Corner": {32.084, -81.1, "US-SE-SOCO", true},
	} {
		zone, err := grid.ZoneAt(test.lat, test.lon)
		if err == nil && zone != test.zone || err != nil && test.known {
			t.Errorf("%s: zone %q, error %v, want %q", name, zone, err, test.zone)
		}
	}
}
