package config

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/leastwatt/leastwatt/scoring"
	"github.com/leastwatt/leastwatt/sensors"
)

// identities is what BMCs tell of their machines' hardware, asked in the background once a day.
type identities struct {
	ask   func(ctx context.Context, node string) (sensors.Hardware, error) // nil: nobody tells
	nodes func() []string
	bind  func(nodes ...string) // told of machines that turned out to be something else
	log   *slog.Logger

	mu    sync.Mutex
	known map[string]sensors.Hardware // guarded by mu
}

const identifyAgain = 24 * time.Hour

// of returns a machine with its hardware, where that is known.
func (i *identities) of(m scoring.Machine) scoring.Machine {
	if m.Hardware == (sensors.Hardware{}) {
		i.mu.Lock()
		defer i.mu.Unlock()
		m.Hardware = i.known[m.Name]
	}
	return m
}

func (i *identities) run(ctx context.Context) error {
	e := errand{again: identifyAgain, nodes: i.nodes, do: i.identify, changed: func(nodes []string) { i.bind(nodes...) }, gone: func(node string) {
		i.mu.Lock()
		defer i.mu.Unlock()
		delete(i.known, node)
	}}
	return e.run(ctx)
}

func (i *identities) identify(ctx context.Context, node string) (bool, error) {
	h, err := i.ask(ctx, node)
	if err != nil {
		i.log.Debug("hardware not told", "node", node, "err", err)
		if errors.Is(err, sensors.ErrNoReading) || errors.Is(err, sensors.ErrUnknownNode) {
			err = nil // it has no more to say tomorrow than today
		}
		return false, err
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.known[node] == h {
		return false, nil
	}
	i.known[node] = h
	return true, nil
}

// wantsHardware tells whether any model goes by what machines' BMCs tell.
func (c *Config) wantsHardware() bool {
	for i := range c.Models {
		x := &c.Models[i]
		if x.guess != nil || x.Published || x.Hardware != "" || x.files != nil && x.files.folder {
			return true
		}
	}
	return false
}
