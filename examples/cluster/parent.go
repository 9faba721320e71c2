package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"strconv"
	"time"
)

var errParentGone = errors.New("go run was killed")

// withGoRun returns a context that ends when this program was started by go run and that is gone. A go
// command that is killed takes no child with it, so the cluster would stay up and nobody would know.
func withGoRun(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	parent := os.Getppid()
	name, err := os.ReadFile("/proc/" + strconv.Itoa(parent) + "/comm")
	if err == nil && bytes.Equal(bytes.TrimSpace(name), []byte("go")) {
		go func() {
			tick := time.NewTicker(time.Second)
			defer tick.Stop()
			for {
				select {
				case <-ctx.Done():
					return
				case <-tick.C:
					if os.Getppid() != parent {
						cancel(errParentGone)
						return
					}
				}
			}
		}()
	}
	return ctx, func() { cancel(nil) }
}
