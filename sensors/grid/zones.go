package grid

import (
	"fmt"
	"math"
	"strings"
)

// ZoneOfRegion returns the zone, by Electricity Maps' name, that a cloud's region draws its power from. The cloud is "aws",
// "gcp" or "azure", and the region is named as the cloud does and as the node label topology.kubernetes.io/region
// has it: "eu-west-3", "europe-west9", "francecentral". A region that is not in the table is an error that wraps
// [ErrUnknownZone]. Regions span tens of kilometres, so that near a border of zones the table's answer is that
// of the place by which the cloud names the region.
func ZoneOfRegion(cloud, region string) (string, error) {
	want := strings.ToLower(cloud) + ":" + strings.ToLower(region)
	known := false
	for i := range places {
		for name := range strings.FieldsSeq(places[i].regions) {
			if name == want {
				return places[i].zone, nil
			}
			known = known || strings.HasPrefix(name, strings.ToLower(cloud)+":")
		}
	}
	if !known {
		return "", fmt.Errorf("cloud %.40q: want aws, gcp or azure: %w", cloud, ErrUnknownZone)
	}
	return "", fmt.Errorf("region %.60q of %s is not in the table: %w", region, cloud, ErrUnknownZone)
}

// Limits of how far coordinates may be from a place of the table.
const (
	reachKm  = 150 // beyond it even a table that has what is behind the borders says little
	clearer  = 2   // a place of another zone must be this many times as far away
	earthKm  = 6371.0088
	besideKm = 5 // within a town, however near the next zone
)

// ZoneAt returns the zone at a latitude and longitude in degrees: that of the nearest place of the table, which holds the
// towns where AWS, Google and Azure have their regions, capitals and large towns beside them, and towns behind borders that are near. The table has no borders, so the answer is an error that wraps
// [ErrUnknownZone] where no place is within 150 km, or one of another zone is nearly as near; name the zone then, and where a border is within sight: of small towns beside one the answer may be what is behind it.
func ZoneAt(lat, lon float64) (string, error) {
	if !(math.Abs(lat) <= 90) || !(math.Abs(lon) <= 180) {
		return "", fmt.Errorf("latitude %v, longitude %v: want −90 to 90 and −180 to 180: %w", lat, lon, ErrUnknownZone)
	}
	best, km := -1, math.Inf(1)
	for i, p := range places {
		if d := distanceKm(lat, lon, p.lat, p.lon); d < km {
			best, km = i, d
		}
	}
	near := places[best]
	if km > reachKm {
		return "", fmt.Errorf("latitude %v, longitude %v: the nearest known place, %s, is %.0f km away: %w", lat, lon, near.name, km, ErrUnknownZone)
	}
	for _, p := range places {
		if d := distanceKm(lat, lon, p.lat, p.lon); p.zone != near.zone && km > besideKm && d < clearer*km {
			return "", fmt.Errorf("latitude %v, longitude %v: between %s (%s, %.0f km) and %s (%s, %.0f km): %w",
				lat, lon, near.name, near.zone, km, p.name, p.zone, d, ErrUnknownZone)
		}
	}
	return near.zone, nil
}

// TownOf returns the latitude and longitude, in degrees, of a town of a zone: the first of the table of [ZoneAt]. It tells false of zones that the
// table has no town of.
func TownOf(zone string) (lat, lon float64, ok bool) {
	for i := range places {
		if places[i].zone == zone {
			return places[i].lat, places[i].lon, true
		}
	}
	return 0, 0, false
}

// distanceKm is the length of the great circle between two points in degrees, by the haversine formula.
func distanceKm(lat1, lon1, lat2, lon2 float64) float64 {
	const rad = math.Pi / 180
	a := math.Sin((lat2 - lat1) * rad / 2)
	b := math.Sin((lon2 - lon1) * rad / 2)
	h := a*a + math.Cos(lat1*rad)*math.Cos(lat2*rad)*b*b
	return 2 * earthKm * math.Asin(math.Sqrt(min(h, 1)))
}
