package main

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"slices"
	"time"
)

// A Status is what the page shows.
type Status struct {
	Now        time.Time    `json:"now"`
	Strategy   string       `json:"strategy"`
	Strategies []string     `json:"strategies"`
	Queued     int          `json:"queued"`
	Running    int          `json:"running"`
	Suspended  int          `json:"suspended"`
	Done       int          `json:"done"`
	Failed     int          `json:"failed"`
	Nodes      []NodeStatus `json:"nodes"`
	Sites      []SiteStatus `json:"sites"`
	Decisions  []Decision   `json:"decisions"` // newest first
	ByNode     []KPI        `json:"byNode"`
	ByStrategy []KPI        `json:"byStrategy"`
	ByHour     []KPI        `json:"byHour"`
}

// A NodeStatus is a node now.
type NodeStatus struct {
	Name  string     `json:"name"`
	Site  string     `json:"site"`
	Cores float64    `json:"cores"`
	Used  float64    `json:"used"`
	Jobs  int        `json:"jobs"`
	Down  bool       `json:"down"`
	Watts *float64   `json:"watts"` // measured
	At    *time.Time `json:"at"`
	KWh   float64    `json:"measuredKWh"`
}

// A SiteStatus is a site's grid: the intensity by the hour from now on, null where unknown.
type SiteStatus struct {
	Name  string     `json:"name"`
	Zone  string     `json:"zone"`
	Hours []*float64 `json:"hours"`
	Error string     `json:"error,omitempty"`
}

func (e *Engine) status() Status {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := Status{Now: e.now(), Strategy: e.strategy, Strategies: strategies(), Queued: len(e.queue), Running: len(e.active), Decisions: slices.Clone(e.recent)}
	for _, j := range e.active {
		if j.paused() {
			s.Running--
			s.Suspended++
		}
	}
	slices.Reverse(s.Decisions)
	s.ByNode, s.ByStrategy, s.ByHour = e.kpis.lists()
	for _, k := range s.ByStrategy {
		s.Done += k.Jobs - k.Failed
		s.Failed += k.Failed
	}
	for i := range e.fleet.machines {
		m := &e.fleet.machines[i]
		n := NodeStatus{Name: m.Name, Site: m.Site, Cores: m.Cores, Used: e.fleet.use(i), Jobs: e.fleet.all.Jobs(e.fleet.at[i].all), Down: m.Down}
		if r, ok := e.readings[m.Name]; ok {
			n.Watts, n.At, n.KWh = new(r.watts), new(r.at), r.kWh
		}
		s.Nodes = append(s.Nodes, n)
	}
	o := e.outlook.Load()
	for k := range e.fleet.sites {
		x := SiteStatus{Name: e.fleet.sites[k].Name, Zone: e.fleet.sites[k].Zone, Hours: make([]*float64, 48)}
		for h := range x.Hours {
			from := s.Now.Add(time.Duration(h) * time.Hour)
			if v := o.mean(k, from, from.Add(time.Hour)); !math.IsNaN(v) {
				x.Hours[h] = new(v)
			}
		}
		if o != nil && k < len(o.Errs) && o.Errs[k] != nil {
			x.Error = o.Errs[k].Error()
		}
		s.Sites = append(s.Sites, x)
	}
	return s
}

// getEvents streams the status whenever it has changed, four times a second at most (server-sent events).
func (e *Engine) getEvents(w http.ResponseWriter, r *http.Request) {
	c := http.NewResponseController(w)
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	const pause, idle = 250 * time.Millisecond, 15 * time.Second
	for {
		changed := e.changed.next()
		b, err := json.Marshal(e.status())
		if err != nil {
			return
		}
		_ = c.SetWriteDeadline(time.Now().Add(10 * time.Second)) // a client that does not read is let go
		if _, err := fmt.Fprintf(w, "data: %s\n\n", b); err != nil || c.Flush() != nil {
			return
		}
		select {
		case <-r.Context().Done():
			return
		case <-time.After(pause):
		}
		select {
		case <-r.Context().Done():
			return
		case <-changed:
		case <-time.After(idle):
		}
	}
}
