package sysfs_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leastwatt/leastwatt/sensors"
	"github.com/leastwatt/leastwatt/sensors/sensorstest"
	"github.com/leastwatt/leastwatt/sensors/sysfs"
)

// tree writes files below a folder, as sysfs has them: the entries of a class are links.
func tree(dir string, files map[string]string) error {
	for path, text := range files {
		real := filepath.Join(dir, "devices", path)
		if err := os.MkdirAll(filepath.Dir(real), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(real, []byte(text+"\n"), 0o644); err != nil {
			return err
		}
		link := filepath.Join(dir, "class", filepath.Dir(path))
		if err := os.MkdirAll(filepath.Dir(link), 0o755); err != nil {
			return err
		}
		if err := os.Symlink(filepath.Join("..", "..", "devices", filepath.Dir(path)), link); err != nil && !os.IsExist(err) {
			return err
		}
	}
	return nil
}

func write(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	if err := tree(dir, files); err != nil {
		t.Fatal(err)
	}
}

func machine() map[string]string {
	return map[string]string{
		"powercap/intel-rapl:0/name": "package-0", "powercap/intel-rapl:0/energy_uj": "1000000000", "powercap/intel-rapl:0/max_energy_range_uj": "262143328850",
		"powercap/intel-rapl:0:0/name": "core", "powercap/intel-rapl:0:0/energy_uj": "900000000",
		"powercap/intel-rapl:0:1/name": "dram", "powercap/intel-rapl:0:1/energy_uj": "200000000", "powercap/intel-rapl:0:1/max_energy_range_uj": "65712999613",
		"powercap/intel-rapl-mmio:0/name": "package-0", "powercap/intel-rapl-mmio:0/energy_uj": "1000000000",
		"hwmon/hwmon0/name": "coretemp", "hwmon/hwmon0/temp1_input": "52000", "hwmon/hwmon0/temp2_input": "55000",
		"hwmon/hwmon1/name": "nvme", "hwmon/hwmon1/temp1_input": "71000",
		"hwmon/hwmon2/name": "power_meter", "hwmon/hwmon2/power1_average": "212500000",
		"hwmon/hwmon3/name": "nct6798", "hwmon/hwmon3/fan1_input": "1200", "hwmon/hwmon3/fan2_input": "0", "hwmon/hwmon3/temp3_input": "23500", "hwmon/hwmon3/temp3_label": "Inlet",
	}
}

func ExampleSource() {
	dir, err := os.MkdirTemp("", "sysfs")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	if err := tree(dir, machine()); err != nil {
		fmt.Println(err)
		return
	}
	source := sysfs.New("n1", sysfs.Options{Root: dir}) // /sys of a machine
	readings, err := source.Read(context.Background(), "n1")
	for _, r := range readings {
		fmt.Println(r.Kind, r.Value, r.Source)
	}
	fmt.Println(err)
	// Output:
	// cpu_energy_joules_total 1200 sysfs:RAPL package+dram
	// inlet_temp_celsius 23.5 sysfs:hwmon nct6798 Inlet
	// cpu_temp_celsius 55 sysfs:hwmon coretemp temp2
	// fan_speed_rpm 1200 sysfs:hwmon nct6798 fan1
	// power_watts 212.5 sysfs:hwmon power_meter power1_average
	// <nil>
}

func TestContract(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, machine())
	if err := sensorstest.TestSource(sysfs.New("n1", sysfs.Options{Root: dir}), sensorstest.Want{
		Node: "n1", Kinds: []sensors.Kind{sensors.CPUEnergy, sensors.CPUTemp, sensors.Power, sensors.InletTemp, sensors.FanSpeed},
	}); err != nil {
		t.Error(err)
	}
}

func find(list []sensors.Reading, kind sensors.Kind) (float64, bool) {
	for _, r := range list {
		if r.Kind == kind {
			return r.Value, true
		}
	}
	return 0, false
}

// The counter wraps around at its range, falls at a reset, and overlaps in zones.
func TestRAPLBecomesWatts(t *testing.T) {
	const limit = 262143328850
	for name, c := range map[string]struct {
		steps []int64 // µJ of the package, 10 s apart
		watts []float64
	}{
		"steady": {[]int64{1e9, 2e9, 3.5e9}, []float64{-1, 100, 150}},
		"wrap":   {[]int64{limit - 4e8, 6e8, 16e8}, []float64{-1, 100, 100}},
		"reset":  {[]int64{5e9, 1e9, 2e9, 3e9}, []float64{-1, -1, 100, 100}},
		"idle":   {[]int64{1e9, 1e9}, []float64{-1, 0}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, dir, machine())
			synctest.Test(t, func(t *testing.T) {
				s := sysfs.New("n1", sysfs.Options{Root: dir})
				for i, uj := range c.steps {
					write(t, dir, map[string]string{"powercap/intel-rapl:0/energy_uj": fmt.Sprint(uj)})
					list, err := s.Read(t.Context(), "n1")
					if err != nil {
						t.Fatal(err)
					}
					w, ok := find(list, sensors.CPUPower)
					if want := c.watts[i]; ok != (want >= 0) || ok && (w < want-1e-6 || w > want+1e-6) {
						t.Errorf("step %d: %v W (%v), want %v", i, w, ok, want)
					}
					time.Sleep(10 * time.Second)
				}
			})
		})
	}
}

func TestPsysHoldsAllOtherZones(t *testing.T) {
	dir := t.TempDir()
	files := machine()
	files["powercap/intel-rapl:1/name"], files["powercap/intel-rapl:1/energy_uj"] = "psys", "5000000000"
	write(t, dir, files)
	list, err := sysfs.New("n1", sysfs.Options{Root: dir}).Read(t.Context(), "n1")
	if j, _ := find(list, sensors.CPUEnergy); err != nil || j != 5000 {
		t.Errorf("%v J, %v; want psys alone, 5000", j, err)
	}
}

func TestFaults(t *testing.T) {
	t.Run("no sysfs", func(t *testing.T) {
		_, err := sysfs.New("n1", sysfs.Options{Root: filepath.Join(t.TempDir(), "none")}).Read(t.Context(), "n1")
		if sensors.Reason(err) != "no_reading" {
			t.Errorf("%v", err)
		}
	})
	t.Run("half a sum", func(t *testing.T) {
		dir := t.TempDir()
		files := machine()
		files["powercap/intel-rapl:0:1/energy_uj"] = "N/A"
		write(t, dir, files)
		list, err := sysfs.New("n1", sysfs.Options{Root: dir}).Read(t.Context(), "n1")
		if _, ok := find(list, sensors.CPUEnergy); ok || sensors.Reason(err) != "malformed" {
			t.Errorf("%v, %v", list, err)
		}
		if _, ok := find(list, sensors.CPUTemp); !ok {
			t.Error("the other sensors are lost")
		}
	})
	t.Run("a link that leads out", func(t *testing.T) {
		dir, out := t.TempDir(), t.TempDir()
		write(t, out, machine())
		if err := os.MkdirAll(filepath.Join(dir, "class"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(filepath.Join(out, "class", "hwmon"), filepath.Join(dir, "class", "hwmon")); err != nil {
			t.Fatal(err)
		}
		if list, err := sysfs.New("n1", sysfs.Options{Root: dir}).Read(t.Context(), "n1"); len(list) > 0 || sensors.Reason(err) != "no_reading" {
			t.Errorf("%v, %v", list, err)
		}
	})
}

func FuzzFiles(f *testing.F) {
	f.Add("1000", "262143328850", "52000")
	f.Add("-9223372036854775808", "0", "9223372036854775807")
	dir := f.TempDir()
	if err := tree(dir, machine()); err != nil {
		f.Fatal(err)
	}
	s := sysfs.New("n1", sysfs.Options{Root: dir})
	f.Fuzz(func(t *testing.T, energy, limit, temp string) {
		write(t, dir, map[string]string{"powercap/intel-rapl:0/energy_uj": energy, "powercap/intel-rapl:0/max_energy_range_uj": limit, "hwmon/hwmon0/temp1_input": temp})
		list, _ := s.Read(t.Context(), "n1")
		for _, r := range list {
			if sensors.Possible(r.Kind, r.Value) != nil {
				t.Errorf("%+v", r)
			}
		}
	})
}
