package trace

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"github.com/leastwatt/leastwatt/scoring/batch"
	"github.com/leastwatt/leastwatt/scoring/simulate"
)

// ecsched reads the job list of the ECSched authors' simulator: id arrival duration cpu mem, in seconds, cores and GiB.
func ecsched(file string, r io.Reader) (*Result, error) {
	res := new(Result)
	err := fieldsOf(file, r, "#", func(line int, f []string) error {
		if len(f) < 5 {
			return &Error{file, line, 0, fmt.Errorf("%d fields: want id, arrival, duration, cpu and mem", len(f))}
		}
		var v [5]float64
		for i := 1; i < 5; i++ {
			var err error
			if v[i], err = number(f[i]); err != nil {
				return &Error{file, line, i + 1, err}
			}
			if v[i] < 0 || v[i] > 9e9 {
				return &Error{file, line, i + 1, fmt.Errorf("%v: %w", v[i], errRange)}
			}
		}
		res.Jobs = append(res.Jobs, simulate.Job{Name: f[0], Arrival: seconds(v[1]), Duration: seconds(v[2]),
			Requests: batch.Resources{CPU: v[3], Memory: v[4] * (1 << 30)}})
		return nil
	})
	if err != nil {
		return nil, err
	}
	return finish(res), nil
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// swf reads the Standard Workload Format of the Parallel Workloads Archive (Feitelson): 18 columns, of which 2 is the submit time, 4 the
// run time, 5 and 8 processors used and requested, 6 mean CPU time used per processor, 10 KiB requested per processor, 12 the
// user. -1 is unknown. Each processor counts as a core; a column in an Error is the number of the field.
func swf(file string, r io.Reader) (*Result, error) {
	res := new(Result)
	err := fieldsOf(file, r, ";", func(line int, f []string) error {
		if len(f) < 18 {
			return &Error{file, line, 0, fmt.Errorf("%d fields: SWF has 18", len(f))}
		}
		var v [18]float64
		for i := range v {
			var err error
			if v[i], err = number(f[i]); err != nil {
				return &Error{file, line, i + 1, err}
			}
			if v[i] > 9e9 || v[i] < -1 {
				return &Error{file, line, i + 1, fmt.Errorf("%v: %w", v[i], errRange)}
			}
		}
		procs := v[7]
		if procs <= 0 {
			procs = v[4]
		}
		if v[1] < 0 || v[3] < 0 || procs <= 0 {
			res.Skipped++
			return nil
		}
		j := simulate.Job{Name: "job-" + f[0], Arrival: seconds(v[1]), Duration: seconds(v[3]), Class: "user-" + f[11],
			Requests: batch.Resources{CPU: procs, Memory: max(v[9], 0) * 1024 * procs}}
		if v[5] > 0 && v[3] > 0 {
			j.Use = min(1, v[5]/v[3])
		}
		res.Jobs = append(res.Jobs, j)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return finish(res), nil
}

// PlanetLab reads CPU use in percent, one virtual machine a row, one value for each five minutes, separated by commas or spaces: a
// day of CoMon data (Beloglazov and Buyya 2012) in one file. Every machine has the given number of cores and arrives at 0. [PlanetLabMachine] reads
// the files that they publish.
func PlanetLab(file string, r io.Reader, cores float64) (*Result, error) {
	res := new(Result)
	err := percents(file, r, func(line int, use []float32) {
		res.Jobs = append(res.Jobs, planetLabJob(fmt.Sprintf("vm-%04d", line), use, cores))
	})
	if err != nil {
		return nil, err
	}
	return finish(res), nil
}

// PlanetLabMachine reads one virtual machine as Beloglazov and Buyya publish them: a file for each, and in it one value in percent a line for
// each five minutes.
func PlanetLabMachine(file string, r io.Reader, cores float64) (simulate.Job, error) {
	var all []float32
	err := percents(file, r, func(_ int, use []float32) { all = append(all, use...) })
	if err == nil && len(all) == 0 {
		err = &Error{file, 1, 0, errors.New("no values")}
	}
	return planetLabJob(filepath.Base(file), all, cores), err
}

func planetLabJob(name string, use []float32, cores float64) simulate.Job {
	const step = 5 * time.Minute
	return simulate.Job{Name: name, Step: step, Profile: use, Class: "vm", Duration: time.Duration(len(use)) * step, Requests: batch.Resources{CPU: cores}}
}

// percents calls f with the shares of each line that has any.
func percents(file string, r io.Reader, f func(line int, use []float32)) error {
	s := bufio.NewScanner(r)
	s.Buffer(make([]byte, 0, 64<<10), maxLine)
	line := 0
	for s.Scan() {
		line++
		if line > MaxRows {
			return &Error{file, line, 0, errTooMany}
		}
		fields := strings.FieldsFunc(s.Text(), func(r rune) bool { return r == ',' || r == ' ' || r == '\t' || r == '\r' })
		if len(fields) == 0 {
			continue
		}
		use := make([]float32, len(fields))
		for k, x := range fields {
			v, err := number(x)
			if err == nil && (v < 0 || v > 100) {
				err = fmt.Errorf("%v %%: %w", v, errRange)
			}
			if err != nil {
				return &Error{file, line, k + 1, err}
			}
			use[k] = float32(v / 100)
		}
		f(line, use)
	}
	if err := s.Err(); err != nil {
		return &Error{file, line + 1, 0, err}
	}
	return nil
}
