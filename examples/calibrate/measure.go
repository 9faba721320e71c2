package main

import (
	"context"
	"encoding/csv"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/leastwatt/leastwatt/sensors"
)

// measuring walks a server through levels of load and writes what its sensors say.
type measuring struct {
	on                  bool
	levels              string
	settle, hold, every time.Duration
	node                string
	sensors, emulate    string
}

func (m *measuring) flags() {
	host, _ := os.Hostname() // a missing name is only a name
	flag.BoolVar(&m.on, "measure", false, "first walk this server through levels of load, writing samples to -csv; run it again to resume")
	flag.StringVar(&m.levels, "levels", "0,50,100,20,70,40,90,10,60,30,80", "with -measure: percent of all CPUs; in a mixed order, so that a slow change of temperature is not taken for the load")
	flag.DurationVar(&m.settle, "settle", time.Minute, "with -measure: how long a level runs before it is measured")
	flag.DurationVar(&m.hold, "hold", 2*time.Minute, "with -measure: how long a level is measured")
	flag.DurationVar(&m.every, "every", 5*time.Second, "with -measure: the time between readings")
	flag.StringVar(&m.node, "node", host, "with -measure: what the sensors call this server")
	flag.StringVar(&m.sensors, "sensors", "", "with -measure: the sources of readings, a YAML file with a section sensors")
	flag.StringVar(&m.emulate, "emulate", "", "with -measure: measure an emulation of a published server instead, without loading this one")
}

// columns of the file that measuring writes; inlet is there if the server measures it.
var measured = []string{"timestamp", "level", "utilization", "inlet", "watts"}

// run measures what the file lacks. When ctx ends it returns an error that says how to resume.
func (m *measuring) run(ctx context.Context, name string, progress io.Writer) error {
	levels, err := m.parse()
	if err != nil {
		return err
	}
	if (m.sensors == "") == (m.emulate == "") {
		return errors.New("-measure: want one of -sensors and -emulate")
	}
	var src sensors.SensorSource
	var gen generator
	if m.emulate != "" {
		e, err := newEmulation(m.emulate)
		if err != nil {
			return err
		}
		src, gen = e, e
	} else {
		s, closeSource, err := openSensors(m.sensors, m.node)
		if err != nil {
			return err
		}
		defer closeSource()
		src, gen = s, newGenerator()
	}
	return m.walk(ctx, name, levels, src, gen, progress)
}

func (m *measuring) parse() ([]int, error) {
	if m.every <= 0 || m.hold < m.every || m.settle < 0 {
		return nil, fmt.Errorf("-measure: -every %v, -hold %v, -settle %v: want 0 < every ≤ hold and settle not negative", m.every, m.hold, m.settle)
	}
	var levels []int
	for text := range strings.SplitSeq(m.levels, ",") {
		l, err := strconv.Atoi(strings.TrimSpace(text))
		if err != nil || l < 0 || l > 100 || slices.Contains(levels, l) {
			return nil, fmt.Errorf("-levels %q: %q is not a percentage, or there twice", m.levels, text)
		}
		levels = append(levels, l)
	}
	return levels, nil
}

// walk brings every level to its number of readings.
func (m *measuring) walk(ctx context.Context, name string, levels []int, src sensors.SensorSource, gen generator, progress io.Writer) error {
	file, err := openTable(name)
	if err != nil {
		return err
	}
	defer file.close()
	want := int(m.hold / m.every)
	fmt.Fprintf(progress, "measuring with %s: %d levels, %d readings each\n", gen, len(levels), want)
	for i, level := range levels {
		if have := file.have[level]; have >= want {
			fmt.Fprintf(progress, "level %3d %% (%d of %d): measured already\n", level, i+1, len(levels))
			continue
		}
		if err := m.level(ctx, level, want, file, src, gen, func(text string) {
			fmt.Fprintf(progress, "level %3d %% (%d of %d): %s\n", level, i+1, len(levels), text)
		}); err != nil {
			if ctx.Err() != nil {
				return fmt.Errorf("interrupted at level %d %%; %s keeps what was measured: run the same command to resume", level, name)
			}
			return fmt.Errorf("level %d %%: %w", level, err)
		}
	}
	return nil
}

// level loads the server and reads its sensors until the level has what it wants.
func (m *measuring) level(ctx context.Context, level, want int, file *table, src sensors.SensorSource, gen generator, tell func(string)) error {
	stop, err := gen.run(ctx, level)
	if err != nil {
		return err
	}
	defer stop()
	tell(fmt.Sprintf("settling for %v", m.settle))
	if err := wait(ctx, m.settle); err != nil {
		return err
	}
	cpu, failed := newCPUMeter(), 0
	for file.have[level] < want {
		if err := wait(ctx, m.every); err != nil {
			return err
		}
		r, err := src.Read(ctx, m.node)
		if err == nil {
			err = file.add(level, r, cpu)
		}
		if err != nil {
			if failed++; failed >= 5 || ctx.Err() != nil {
				return fmt.Errorf("%d readings in a row failed: %w", failed, err)
			}
			tell("reading left out: " + err.Error())
			continue
		}
		failed = 0
		if n := file.have[level]; n == want || n%10 == 0 {
			tell(fmt.Sprintf("%d of %d readings, last %s", n, want, file.last))
		}
	}
	return nil
}

func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// A table is the file of samples, written row by row.
type table struct {
	f     *os.File
	csv   *csv.Writer
	inlet bool // the file has that column
	head  bool
	have  map[int]int // readings by level
	last  string
}

// openTable opens the file and counts what it holds already.
func openTable(name string) (*table, error) {
	t := &table{have: make(map[int]int)}
	data, err := os.ReadFile(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	// A row that was cut off by a crash is dropped.
	whole := data[:strings.LastIndexByte(string(data), '\n')+1]
	if len(whole) > 0 {
		rows, err := csv.NewReader(strings.NewReader(string(whole))).ReadAll()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		without := slices.Delete(slices.Clone(measured), 3, 4)
		if t.inlet = slices.Equal(rows[0], measured); !t.inlet && !slices.Equal(rows[0], without) {
			return nil, fmt.Errorf("%s: its header is not that of a measurement (%s): name another file", name, strings.Join(measured, ","))
		}
		t.head = true
		for i, r := range rows[1:] {
			level, err := strconv.Atoi(r[1])
			if err != nil {
				return nil, fmt.Errorf("%s: line %d: level %q is no number", name, i+2, r[1])
			}
			t.have[level]++
		}
	}
	if t.f, err = os.OpenFile(name, os.O_CREATE|os.O_WRONLY, 0o644); err != nil {
		return nil, err
	}
	if err := t.f.Truncate(int64(len(whole))); err != nil {
		return nil, errors.Join(err, t.f.Close())
	}
	if _, err := t.f.Seek(0, io.SeekEnd); err != nil {
		return nil, errors.Join(err, t.f.Close())
	}
	t.csv = csv.NewWriter(t.f)
	return t, nil
}

func (t *table) close() { _ = t.f.Close() } // every row was flushed and its error seen

// add writes one row, or says what the reading lacks.
func (t *table) add(level int, r []sensors.Reading, cpu *cpuMeter) error {
	find := func(k sensors.Kind) (sensors.Reading, bool) {
		i := slices.IndexFunc(r, func(x sensors.Reading) bool { return x.Kind == k })
		if i < 0 {
			return sensors.Reading{}, false
		}
		return r[i], true
	}
	watts, ok := find(sensors.Power)
	if !ok {
		return errors.New("the sensors give no power_watts")
	}
	var u float64
	if x, ok := find(sensors.CPUUtilization); ok {
		u = x.Value
	} else {
		var err error
		if u, err = cpu.utilization(); err != nil {
			return fmt.Errorf("the sensors give no utilization, and this machine tells none: %w", err)
		}
	}
	inlet, hasInlet := find(sensors.InletTemp)
	if !t.head {
		t.inlet, t.head = hasInlet, true
		head := measured
		if !t.inlet {
			head = slices.Delete(slices.Clone(measured), 3, 4)
		}
		if err := t.csv.Write(head); err != nil {
			return err
		}
	}
	row := []string{strconv.FormatFloat(float64(time.Now().UnixMilli())/1000, 'f', 3, 64), strconv.Itoa(level), strconv.FormatFloat(u, 'f', 5, 64)}
	if t.inlet {
		if !hasInlet {
			return errors.New("the sensors gave an inlet temperature before and give none now")
		}
		row = append(row, strconv.FormatFloat(inlet.Value, 'f', 2, 64))
	}
	row = append(row, strconv.FormatFloat(watts.Value, 'f', 3, 64))
	if err := t.csv.Write(row); err != nil {
		return err
	}
	if t.csv.Flush(); t.csv.Error() != nil {
		return t.csv.Error()
	}
	t.have[level]++
	t.last = fmt.Sprintf("%.1f W at %.0f %% of the CPUs", watts.Value, 100*u)
	return nil
}
