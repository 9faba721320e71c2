package controllers

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// problems are why nodes have no profile, or not the one that is asked for, or not all of it. They are a [prometheus.Collector].
type problems struct {
	desc *prometheus.Desc

	mu   sync.Mutex
	all  map[string]problem // guarded by mu: by node
	seen map[string]bool    // guarded by mu: kinds of makers that ever had one
	told map[string]telling // guarded by mu: by kind
}

type problem struct {
	by  string
	err error
}

// A telling is what the log was told last of a kind of makers.
type telling struct {
	text string
	at   time.Time
}

func newProblems() *problems {
	return &problems{desc: prometheus.NewDesc("leastwatt_profile_problems",
		"Nodes that have no NodeProfile, or not the one that is asked for or not all of it, by what asks: NodeProfileTemplate, or an object of another system. The log says why.", []string{"by"}, nil),
		all: make(map[string]problem), seen: make(map[string]bool), told: make(map[string]telling)}
}

func (p *problems) set(node, by string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err == nil {
		delete(p.all, node)
		return
	}
	p.all[node] = problem{by, err}
	p.seen[kindOf(by)] = true
}

// kindOf returns the kind of the object that [MadeBy] names.
func kindOf(by string) string {
	kind, _, _ := strings.Cut(by, "/")
	return kind
}

// of returns the problems of one maker: how many nodes have one, and what some of them have.
func (p *problems) of(by string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	text := p.some(func(x problem) string {
		if x.by != by {
			return ""
		}
		return x.err.Error()
	})
	if text == "" {
		return nil
	}
	return errors.New(text)
}

// some tells how many nodes have a problem of which a function returns a text, and what some of them have. The caller holds mu.
func (p *problems) some(text func(problem) string) string {
	const shown = 3
	var some []string
	n := 0
	for _, node := range slices.Sorted(maps.Keys(p.all)) {
		if x := text(p.all[node]); x != "" {
			if n++; n <= shown {
				some = append(some, fmt.Sprintf("node %q: %s", node, x))
			}
		}
	}
	if n > shown {
		some = append(some, fmt.Sprintf("and %d more", n-shown))
	}
	return strings.Join(some, "; ")
}

// tellAgain is how often the log is told at most of one kind of makers: while a thousand nodes are looked at, what is wrong changes
// with each of them.
const tellAgain = time.Minute

// tell writes into the log what has changed. Objects of other systems have no status of ours, so nothing else would say why
// a node has no profile.
func (p *problems) tell(ctx context.Context, log *slog.Logger) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	for kind := range p.seen {
		text := p.some(func(x problem) string {
			switch {
			case kindOf(x.by) != kind:
				return ""
			case x.by == kind:
				return x.err.Error()
			}
			return fmt.Sprintf("%s: %v", x.by, x.err)
		})
		last := p.told[kind]
		if text == last.text || now.Sub(last.at) < tellAgain {
			continue
		}
		p.told[kind] = telling{text, now}
		if text == "" {
			log.InfoContext(ctx, "NodeProfiles are what is asked for", "by", kind)
		} else {
			log.WarnContext(ctx, "NodeProfiles are not what is asked for", "by", kind, "why", cut(text))
		}
	}
}

// Describe implements [prometheus.Collector].
func (p *problems) Describe(ch chan<- *prometheus.Desc) { ch <- p.desc }

// Collect implements [prometheus.Collector].
func (p *problems) Collect(ch chan<- prometheus.Metric) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := make(map[string]int, len(p.seen))
	for _, x := range p.all {
		n[kindOf(x.by)]++
	}
	for kind := range p.seen {
		ch <- prometheus.MustNewConstMetric(p.desc, prometheus.GaugeValue, float64(n[kind]), kind)
	}
}
