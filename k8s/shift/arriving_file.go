package shift

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"time"

	"github.com/leastwatt/leastwatt/scoring/batch/arrivals"
)

// A memory is what was learned of the work that comes, and until when: objects that are older were counted.
type memory struct {
	Until time.Time                    `json:"until"`
	Zones map[string]*arrivals.Learner `json:"zones"`
}

// errAhead says that a file was written at a time to come.
var errAhead = errors.New("that has not been: the clock is behind, or remove the file")

// load reads what was learned before; of a file that does not exist, nothing.
func (m *memory) load(file string, now time.Time) error {
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var read memory
	if err := json.Unmarshal(text, &read); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	if read.Until.Sub(now) > 24*time.Hour { // a learner bears a clock that goes back by a day
		return fmt.Errorf("%s: it was written at %v: %w", file, read.Until, errAhead)
	}
	for zone, l := range read.Zones {
		if l == nil || l.Slot() != slot {
			return fmt.Errorf("%s: zone %q: not learned by slots of %v", file, zone, slot)
		}
	}
	*m = read
	return nil
}

// save replaces the file at once, so that a crash leaves the old one or the new one.
func (m *memory) save(file string) error {
	text, err := json.Marshal(m)
	if err != nil {
		return err
	}
	next := file + ".tmp"
	if err := os.WriteFile(next, text, 0o600); err != nil {
		return err
	}
	return os.Rename(next, file)
}

// recall takes over, in the first round, what was learned before. What was learned by a clock that is far ahead of this one is left alone until that time, as
// where a machine starts before it has heard the time.
func (c *Controller) recall(now time.Time) {
	if c.opts.ArrivalsFile == "" || c.recalled {
		return
	}
	var m memory
	err := m.load(c.opts.ArrivalsFile, now)
	if c.recalled = !errors.Is(err, errAhead); !c.recalled && c.ahead {
		return // told before
	}
	if c.ahead = !c.recalled; err != nil {
		c.opts.Logger.Warn("what comes is learned anew", "error", err)
		return
	}
	maps.Copy(c.coming, m.Zones)
	c.counted = m.Until
}

// remember keeps what was learned.
func (c *Controller) remember(now time.Time) {
	if c.opts.ArrivalsFile == "" || !c.recalled {
		return
	}
	m := memory{Until: now, Zones: c.coming}
	if err := m.save(c.opts.ArrivalsFile); err != nil {
		c.opts.Logger.Warn("what was learned of the work that comes is not kept", "error", err)
	}
}
