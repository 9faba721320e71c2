package main

import (
	"context"
	"errors"
	"sync"
	"time"
)

// dispatch tells the dispatcher of jobs that start or are suspended, and again after a pause where that fails.
func (e *Engine) dispatch(ctx context.Context) {
	if e.opts.Dispatch == nil {
		return
	}
	e.mu.Lock()
	var list []Job
	clock := time.Now()
	for id, a := range e.retry {
		if j := e.active[id]; j != nil && !a.next.After(clock) {
			list = append(list, *j)
		}
	}
	e.mu.Unlock()
	const atOnce = 8
	slots := make(chan struct{}, atOnce)
	errs := make([]error, len(list))
	var wg sync.WaitGroup
	for i := range list {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
			defer cancel()
			if list[i].State == Suspending {
				errs[i] = e.opts.Dispatch.Suspend(ctx, list[i])
			} else {
				errs[i] = e.opts.Dispatch.Start(ctx, list[i])
			}
		})
	}
	wg.Wait()
	for i, err := range errs {
		id := list[i].ID
		switch permanent, _ := errors.AsType[*refused](err); {
		case err == nil && list[i].State == Suspending:
			e.Report(id, Suspended, e.now(), "")
		case err == nil:
			e.Report(id, Running, e.now(), "")
		case permanent != nil:
			e.Report(id, Failed, e.now(), err.Error())
		default:
			if errors.Is(err, errStopping) {
				e.mu.Lock()
				e.retry[id] = attempt{next: time.Now().Add(time.Second)}
				e.mu.Unlock()
				continue
			}
			e.opts.Logger.Warn("telling of a job", "job", id, "state", list[i].State, "error", err)
			e.mu.Lock()
			a := e.retry[id]
			a.count++
			a.next = time.Now().Add(min(time.Second<<min(a.count, 6), time.Minute))
			e.retry[id] = a
			if j := e.active[id]; j != nil {
				j.Message = err.Error()
			}
			e.mu.Unlock()
			continue
		}
		e.mu.Lock()
		delete(e.retry, id)
		e.mu.Unlock()
	}
}

// A refused start will not succeed later either.
type refused struct{ err error }

func (r *refused) Error() string { return r.err.Error() }
func (r *refused) Unwrap() error { return r.err }
