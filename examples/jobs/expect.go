package main

import (
	"context"
	"encoding/json"
	"slices"
	"sync"
	"time"

	"github.com/leastwatt/leastwatt/scoring/batch/arrivals"
	"github.com/leastwatt/leastwatt/scoring/batch/spacetime"
)

// planSlot is the length of the planner's slots.
const planSlot = 15 * time.Minute

// coming learns how much work comes. Its state is stored when a slot has passed, and every few seconds while jobs come; what came since is read again from
// the jobs, so that a restart goes on with what was learned. It is safe for concurrent use.
type coming struct {
	mu     sync.Mutex
	l      *arrivals.Learner // guarded by mu, as all below
	last   time.Time         // when the last job that it has seen was submitted
	unsaid []byte            // a state that is not stored yet; nil: none
	fresh  bool              // jobs have come since the last state
	stated time.Time         // when that was, by the real clock
}

// A learned is a state in the store, and the last job that is in it.
type learned struct {
	Last    time.Time         `json:"last"`
	Learner *arrivals.Learner `json:"learner"`
}

// stateEvery is how often a state is stored while jobs come: what has come since has to be read again by a restart.
const stateEvery = 2 * time.Second

// settingComing is the name of its state among the settings.
const settingComing = "arrivals"

// see counts a job that was accepted. Its slack is how long it may wait.
func (c *coming) see(j *Job, slack time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	at := j.Submitted.Sub(epoch)
	c.pass(at)
	c.l.See(arrivals.Job{Submitted: at, Cores: j.CPU, Duration: j.Duration, Slack: slack, Load: 1})
	c.fresh = true
	if j.Submitted.After(c.last) {
		c.last = j.Submitted
	}
}

// pass closes the slots before the one of now; mu is held.
func (c *coming) pass(now time.Duration) {
	if c.l.Pass(now) {
		c.state()
	}
}

// state states what was learned; mu is held.
func (c *coming) state() {
	if text, err := json.Marshal(learned{c.last, c.l}); err == nil {
		c.unsaid, c.fresh, c.stated = text, false, time.Now()
	}
}

// expect states the work that is expected to come.
func (c *coming) expect(p arrivals.Plan) []spacetime.Job {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.l.Expect(p)
}

// any tells whether any work is expected; nil expects none.
func (c *coming) any(now time.Time) bool {
	if c == nil {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pass(now.Sub(epoch))
	return c.l.Any()
}

// beyond is for how long after the last job of a plan there is room in it for what is expected before.
const beyond = 24 * time.Hour

// store makes durable what was learned.
func (c *coming) store(ctx context.Context, s *Store) error {
	c.mu.Lock()
	if c.fresh && c.unsaid == nil && time.Since(c.stated) > stateEvery {
		c.state()
	}
	text := c.unsaid
	c.mu.Unlock()
	if text == nil {
		return nil
	}
	if err := s.Do(ctx, func(tx *batchTx) error { return tx.set(settingComing, string(text)) }); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if string(c.unsaid) == string(text) {
		c.unsaid = nil
	}
	return nil
}

// loadComing returns what the store holds of it: the last state and the jobs since, or, where there is none that can be read, the jobs of the time
// that counts.
func loadComing(ctx context.Context, s *Store, now time.Time, slack func(*Job) time.Duration) (*coming, error) {
	c := &coming{}
	text, err := s.Setting(ctx, settingComing)
	if err != nil {
		return nil, err
	}
	state := learned{Learner: &arrivals.Learner{}}
	since := now.Add(-2 * arrivals.Memory * 24 * time.Hour)
	if text != "" && json.Unmarshal([]byte(text), &state) == nil && state.Learner != nil && state.Learner.Slot() == planSlot && !state.Last.After(now) {
		c.l, c.last, since = state.Learner, state.Last, state.Last
	}
	jobs, err := s.submitted(ctx, since)
	if err != nil {
		return nil, err
	}
	if c.l == nil {
		begun := now
		if len(jobs) > 0 {
			begun = jobs[0].Submitted.Add(-time.Millisecond)
		}
		c.l = arrivals.New(planSlot, begun.Sub(epoch))
	}
	for _, j := range jobs {
		c.see(j, slack(j))
	}
	return c, nil
}

// submitted returns what tells the work of the jobs that were submitted after a time, the oldest first. It reads them from the newest on, and no further.
func (s *Store) submitted(ctx context.Context, since time.Time) ([]*Job, error) {
	rows, err := s.db.QueryContext(ctx, "SELECT cpu, duration_ms, submitted_ms, deadline_ms FROM jobs ORDER BY seq DESC")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []*Job
	for rows.Next() {
		var j Job
		var duration, submitted, deadline int64
		if err := rows.Scan(&j.CPU, &duration, &submitted, &deadline); err != nil {
			return nil, err
		}
		j.Duration, j.Submitted, j.Deadline = time.Duration(duration)*time.Millisecond, moment(submitted), moment(deadline)
		if j.Submitted.Before(since.Add(-time.Second)) { // what came at about the same time may stand in any order
			break
		}
		if j.Submitted.After(since) {
			list = append(list, &j)
		}
	}
	slices.Reverse(list)
	slices.SortStableFunc(list, func(a, b *Job) int { return a.Submitted.Compare(b.Submitted) })
	return list, rows.Err()
}
