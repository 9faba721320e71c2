package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/leastwatt/leastwatt/sensors"
	"github.com/leastwatt/leastwatt/sensors/scaphandre"
)

// ingest takes what a node pushes in Scaphandre's text. The query node=NAME says which.
func (e *Engine) ingest(w http.ResponseWriter, r *http.Request) {
	b, ok := body(w, r)
	if !ok {
		return
	}
	node := r.URL.Query().Get("node")
	e.mu.Lock()
	known := e.fleet.find(node) >= 0
	e.mu.Unlock()
	if !known {
		fail(w, http.StatusNotFound, fmt.Errorf("no node is named %.60q: want ?node=NAME", node))
		return
	}
	list, err := scaphandre.Parse(node, b, e.now())
	if len(list) == 0 {
		fail(w, http.StatusBadRequest, fmt.Errorf("node %q: %w", node, err))
		return
	}
	if err := e.Measure(r.Context(), node, list); err != nil {
		fail(w, http.StatusServiceUnavailable, errors.New("the samples could not be stored"))
		return
	}
	answer(w, http.StatusAccepted, map[string]int{"samples": len(list)})
}

// A reading is the last power of a node.
type reading struct {
	watts float64
	at    time.Time
	kWh   float64 // measured since the program started
}

// Measure stores what a node's sensors say.
func (e *Engine) Measure(ctx context.Context, node string, list []sensors.Reading) error {
	err := e.store.Do(ctx, func(tx *batchTx) error {
		for _, x := range list {
			if err := tx.sample(&Sample{node, string(x.Kind), x.Source, x.Value, x.At}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, x := range list {
		if x.Kind != sensors.CPUPower && x.Kind != sensors.Power {
			continue
		}
		last := e.readings[node]
		next := reading{x.Value, x.At, last.kWh}
		if d := x.At.Sub(last.at); !last.at.IsZero() && d > 0 && d < time.Hour {
			next.kWh += (last.watts + x.Value) / 2 / 1000 * d.Hours()
		}
		e.readings[node] = next
	}
	e.changed.set()
	return nil
}
