package sensors

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// Limit returns a source that begins at most one read of a node in every interval, whoever asks: BMCs are
// small computers. A read that comes too soon waits, unless its context would end before its turn: then it
// fails at once, with an error that wraps [ErrThrottled]. A batch counts as one read.
//
// It is a [BatchSource] if s is one.
func Limit(s SensorSource, every time.Duration) SensorSource {
	l := &limiter{SensorSource: s, every: every, next: make(map[string]time.Time)}
	if b, ok := s.(BatchSource); ok {
		return batchLimiter{l, b}
	}
	return l
}

type limiter struct {
	SensorSource
	every time.Duration

	mu   sync.Mutex
	next map[string]time.Time // when the next read of a node may begin; guarded by mu
}

// String names the source.
func (l *limiter) String() string { return Name(l.SensorSource) }

// Read implements [SensorSource].
func (l *limiter) Read(ctx context.Context, node string) ([]Reading, error) {
	if err := l.wait(ctx, node); err != nil {
		return nil, &Error{Source: l.String(), Node: node, Err: err}
	}
	return l.SensorSource.Read(ctx, node)
}

// wait waits for the turn of a node, and takes it.
func (l *limiter) wait(ctx context.Context, key string) error {
	l.mu.Lock()
	now := time.Now()
	turn := l.next[key]
	if turn.Before(now) {
		turn = now
	}
	if end, ok := ctx.Deadline(); ok && turn.After(end) {
		l.mu.Unlock()
		return &paused{ErrThrottled, fmt.Sprintf("the next read may begin in %v", turn.Sub(now).Round(time.Millisecond)), turn.Sub(now)}
	}
	l.next[key] = turn.Add(l.every)
	if len(l.next) > maxRemembered {
		for k, t := range l.next {
			if t.Before(now) {
				delete(l.next, k)
			}
		}
	}
	l.mu.Unlock()
	if turn.Equal(now) {
		return nil
	}
	timer := time.NewTimer(turn.Sub(now))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", ErrThrottled, ctx.Err())
	}
}

// maxRemembered bounds the nodes that are remembered beyond what is needed.
const maxRemembered = 100_000

// paused is an error that says when to come back.
type paused struct {
	err   error
	text  string
	after time.Duration
}

// Error tells the cause and why nothing was asked.
func (p *paused) Error() string { return p.err.Error() + ": " + p.text }

// Unwrap returns the cause.
func (p *paused) Unwrap() error { return p.err }

// RetryAfter returns when it is of use to ask again.
func (p *paused) RetryAfter() time.Duration { return p.after }

type batchLimiter struct {
	*limiter
	batch BatchSource
}

// ReadAll implements [BatchSource].
func (l batchLimiter) ReadAll(ctx context.Context, nodes []string) (map[string][]Reading, map[string]error) {
	if len(nodes) == 0 {
		return nil, nil
	}
	if err := l.wait(ctx, "\xff"); err != nil {
		errs := make(map[string]error, len(nodes))
		for _, n := range nodes {
			errs[n] = &Error{Source: l.String(), Node: n, Err: err}
		}
		return nil, errs
	}
	return ReadAll(ctx, l.batch, nodes)
}
