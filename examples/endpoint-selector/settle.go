package main

import (
	"context"
	"log/slog"
	"runtime/debug"
	"time"
)

// settle gives memory back to the system that only a short work needed: once, after ready says that the start is over,
// the pages of the program's file that built tables of every API, and at every refresh what lists, transactions and
// scrapes left. One of these processes runs on every node; the collections cost it a thousandth of a processor.
func settle(ctx context.Context, ready func() error, refresh time.Duration, log *slog.Logger) {
	tick := time.NewTicker(refresh)
	defer tick.Stop()
	for started := false; ; {
		if !started && ready() == nil {
			started = true
			if err := dropFile(); err != nil {
				log.Warn("pages of the program stay in memory", "err", err)
			}
		}
		debug.FreeOSMemory()
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
