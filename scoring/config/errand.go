package config

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"
)

// An errand asks something of each machine now and then, a few machines at once, so that one that hangs holds up
// few others.
type errand struct {
	again time.Duration // after success
	nodes func() []string

	// do asks one machine, and tells whether the answer is a new one. It returns when ctx is done.
	do func(ctx context.Context, node string) (changed bool, err error)

	changed func(nodes []string) // told of new answers, at most once a second; nil: nobody
	gone    func(node string)    // told of machines that left
}

const (
	errandsAtOnce = 16
	errandTimeout = 15 * time.Second
	firstRetry    = 10 * time.Second
	lastRetry     = time.Hour
)

type appointment struct {
	due      time.Time
	failures int
	running  bool
}

type errandDone struct {
	node    string
	changed bool
	err     error
}

// run runs until ctx ends, and returns its error after all that it started has ended.
func (e *errand) run(ctx context.Context) error {
	book := make(map[string]*appointment)
	done := make(chan errandDone, errandsAtOnce)
	running := 0
	var news []string
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		for _, n := range e.due(book, time.Now(), errandsAtOnce-running) {
			running++
			book[n].running = true
			go func() {
				ctx, cancel := context.WithTimeout(ctx, errandTimeout)
				defer cancel()
				changed, err := e.do(ctx, n)
				done <- errandDone{n, changed, err}
			}()
		}
		select {
		case <-ctx.Done():
			for ; running > 0; running-- {
				<-done
			}
			return ctx.Err()
		case d := <-done:
			for more := true; more; { // all that have come back, before the book is read through again
				running--
				book[d.node].finish(d.err, e.again)
				if d.changed {
					news = append(news, d.node)
				}
				select {
				case d = <-done:
				default:
					more = false
				}
			}
		case <-tick.C:
			if len(news) > 0 && e.changed != nil {
				e.changed(news)
			}
			news = nil
		}
	}
}

// due makes the book that of the machines there are, and returns at most limit of those that are to be asked.
func (e *errand) due(book map[string]*appointment, now time.Time, limit int) (due []string) {
	if limit == 0 {
		return nil
	}
	nodes := e.nodes()
	for _, n := range nodes {
		if book[n] == nil {
			book[n] = &appointment{}
		}
	}
	if len(book) > len(nodes) {
		there := make(map[string]bool, len(nodes))
		for _, n := range nodes {
			there[n] = true
		}
		for n, a := range maps.All(book) {
			if !there[n] && !a.running {
				delete(book, n)
				e.gone(n)
			}
		}
	}
	for _, n := range nodes {
		if a := book[n]; !a.running && !a.due.After(now) {
			due = append(due, n)
		}
	}
	slices.SortFunc(due, func(a, b string) int { return book[a].due.Compare(book[b].due) })
	return due[:min(len(due), limit)]
}

// finish says when the machine is asked again.
func (a *appointment) finish(err error, again time.Duration) {
	a.running = false
	if err == nil {
		a.failures, a.due = 0, time.Now().Add(again)
		return
	}
	wait := min(firstRetry<<min(a.failures, 16), lastRetry)
	if r, ok := errors.AsType[interface {
		error
		RetryAfter() time.Duration
	}](err); ok {
		wait = min(max(wait, r.RetryAfter()), lastRetry)
	}
	a.failures++
	a.due = time.Now().Add(wait)
}
