package main

import (
	"context"
	"log/slog"
	"os"
	"runtime/debug"
	"time"
)

// How much more than what lives the heap may hold, in per cent, where GOGC does not say it: at the start, which is when
// most lives, and from then on.
const (
	startGC = 10
	laterGC = 30
)

func collect(percent int) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(percent)
	}
}

// settle gives memory back to the system that only a short work needed: the pages of the program's file that built tables of
// every API, before the cluster's objects come, and what came to it until ready says that the start is over; and at every
// refresh what lists, transactions and scrapes left. One of these processes runs on every node; the collections cost it a
// thousandth of a processor.
func settle(ctx context.Context, ready func() error, refresh time.Duration, log *slog.Logger) {
	drop := func() {
		if err := dropFile(); err != nil {
			log.Warn("pages of the program stay in memory", "err", err)
		}
	}
	collect(startGC)
	drop()
	tick := time.NewTicker(refresh)
	defer tick.Stop()
	for started := false; ; {
		if !started && ready() == nil {
			started = true
			collect(laterGC)
			drop()
		}
		debug.FreeOSMemory()
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
