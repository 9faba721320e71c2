// Package sysfs reads the sensors that Linux shows of the machine the program runs on: RAPL (powercap) and
// hwmon.
//
// Its main type is [Source]. Files are opened below one folder by [os.Root], so that no link leads out of it.
// Elsewhere than on Linux the package builds, and a read says that there is no such folder.
//
// What it gives, each where the machine has it: [sensors.CPUEnergy] and, from the second read on,
// [sensors.CPUPower] from RAPL, which counts packages and memory; [sensors.CPUTemp], the hottest;
// [sensors.FanSpeed], the fastest; [sensors.InletTemp] and [sensors.ExhaustTemp] by a sensor's label; and
// [sensors.Power] from an ACPI power meter, which measures the whole machine.
package sysfs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"time"

	"github.com/leastwatt/leastwatt/internal/exposition"
	"github.com/leastwatt/leastwatt/sensors"
	"github.com/leastwatt/leastwatt/sensors/internal/scrape"
)

// Options tune a [Source]. The zero value works.
type Options struct {
	// Root is where sysfs is mounted; "" means /sys. In a container, the host's may be elsewhere.
	Root string
}

// Source reads this machine.
type Source struct {
	node string
	root string

	mu    sync.Mutex
	zones map[string]*counter // guarded by mu
	rates exposition.Rates
}

// New returns a source of one node, this machine, by the name that it has in the cluster. It opens nothing.
func New(node string, o Options) *Source {
	return &Source{node: node, root: cmp.Or(o.Root, "/sys"), zones: make(map[string]*counter)}
}

// String returns "sysfs".
func (s *Source) String() string { return name }

const name = "sysfs"

// Read implements [sensors.SensorSource]. At is when the files were read: the kernel asks the hardware then.
func (s *Source) Read(ctx context.Context, node string) ([]sensors.Reading, error) {
	fail := func(err error) ([]sensors.Reading, error) {
		return nil, &sensors.Error{Source: name, Node: node, Err: err}
	}
	if node != s.node {
		return fail(fmt.Errorf("%w: this machine is %q", sensors.ErrUnknownNode, s.node))
	}
	if err := ctx.Err(); err != nil {
		return fail(fmt.Errorf("%w: %w", sensors.ErrUnreachable, err))
	}
	root, err := os.OpenRoot(s.root)
	if err != nil {
		return fail(reason(err))
	}
	defer root.Close()
	r := &scrape.Result{Source: name, Node: node, At: time.Now()}
	s.rapl(root.FS(), r)
	if ctx.Err() == nil {
		hwmon(root.FS(), r)
	}
	return r.Done("neither RAPL nor a known hwmon sensor below " + s.root)
}

// reason wraps an error of a file.
func reason(err error) error {
	switch {
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w: %w", sensors.ErrUnauthorized, err)
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w: %w", sensors.ErrNoReading, err)
	}
	return fmt.Errorf("%w: %w", sensors.ErrDevice, err)
}
