package sysfs

import (
	"cmp"
	"fmt"
	"io/fs"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/leastwatt/leastwatt/internal/sensorname"
	"github.com/leastwatt/leastwatt/sensors"
	"github.com/leastwatt/leastwatt/sensors/internal/scrape"
)

// cpuChips are the drivers of processors' own thermometers.
var cpuChips = [...]string{"coretemp", "k10temp", "zenpower", "cpu_thermal"}

// hwmon reads what drivers show below class/hwmon: temperatures in thousandths of a degree, fans in
// revolutions per minute, power in microwatts (Documentation/hwmon/sysfs-interface of Linux). A sensor that
// cannot be read now is left out.
func hwmon(root fs.FS, r *scrape.Result) {
	best := map[sensors.Kind]found{}
	take := func(kind sensors.Kind, f found) {
		if old, ok := best[kind]; !ok || f.rank > old.rank || f.rank == old.rank && kind != sensors.InletTemp && f.value > old.value {
			best[kind] = f
		}
	}
	const class = "class/hwmon"
	for _, dev := range entries(root, class) {
		dir := class + "/" + dev + "/"
		chip, err := text(root, dir+"name")
		if err != nil {
			continue
		}
		for _, file := range entries(root, class+"/"+dev) {
			value, err := int64(0), error(nil)
			base, isInput := strings.CutSuffix(file, "_input")
			if isInput || chip == "power_meter" && file == "power1_average" {
				value, err = number(root, dir+file)
			} else {
				continue
			}
			if err != nil {
				continue
			}
			label, _ := text(root, dir+base+"_label")
			sensor := found{view: fmt.Sprintf("hwmon %s %s", chip, cmp.Or(label, base))}
			switch {
			case strings.HasPrefix(base, "temp"):
				sensor.value = float64(value) / 1000
				switch {
				case slices.Contains(cpuChips[:], chip):
					take(sensors.CPUTemp, sensor)
				case sensorname.InletRank(label) > 0:
					sensor.rank = sensorname.InletRank(label)
					take(sensors.InletTemp, sensor)
				case sensorname.Exhaust(label):
					take(sensors.ExhaustTemp, sensor)
				}
			case strings.HasPrefix(base, "fan"):
				sensor.value = float64(value)
				take(sensors.FanSpeed, sensor)
			case chip == "power_meter" && strings.HasPrefix(file, "power1"):
				sensor.value = math.Round(float64(value)/1e3) / 1e3
				take(sensors.Power, sensor)
			}
		}
	}
	for _, kind := range []sensors.Kind{sensors.InletTemp, sensors.ExhaustTemp, sensors.CPUTemp, sensors.FanSpeed, sensors.Power} {
		if f, ok := best[kind]; ok {
			r.Add(kind, f.value, time.Time{}, f.view)
		}
	}
}

// found is a candidate for a kind.
type found struct {
	value float64
	rank  int
	view  string
}
