package sensors

import (
	"context"
	"time"
)

// forgetting is what is known of nodes that are read no more, while the sources are told so. Sources may have to
// say goodbye to a device for that, so it is done beside the loop, for a few nodes at once.
type forgetting struct {
	parts   []bool // which of the poller's parts keep something for a node
	waiting []departed
	running int
	done    chan departed // has room for all that run
	ctx     context.Context
	cancel  context.CancelFunc
}

// departed is a node that a part reads no more.
type departed struct {
	part int
	node string
	err  error
}

const maxForgetting = 8 // at once

func (l *pollLoop) newForgetting() *forgetting {
	f := &forgetting{done: make(chan departed, maxForgetting)}
	f.ctx, f.cancel = context.WithCancel(context.WithoutCancel(l.ctx))
	for _, s := range l.parts {
		f.parts = append(f.parts, forgets(s))
	}
	return f
}

// forget has a part told that it reads a node no more. No read of the node by that part may be under way.
func (l *pollLoop) forget(part int, node string) {
	if f := l.forgetting; f.parts[part] {
		f.waiting = append(f.waiting, departed{part: part, node: node})
	}
}

// depart starts to tell what is still to be told, within the limit.
func (l *pollLoop) depart() {
	f := l.forgetting
	for f.running < maxForgetting && len(f.waiting) > 0 {
		d := f.waiting[0]
		f.waiting = f.waiting[1:]
		if l.state[d.node] != nil {
			continue // it is back
		}
		f.running++
		go func() {
			ctx, cancel := context.WithTimeout(f.ctx, l.opts.Timeout)
			defer cancel()
			d.err = Forget(ctx, l.parts[d.part], d.node)
			f.done <- d
		}()
	}
}

// departed takes in that a source was told.
func (l *pollLoop) departed(d departed) {
	l.forgetting.running--
	if d.err != nil {
		l.opts.Logger.Warn("sensors: a node that is read no more could not be let go", "node", d.node, "reason", Reason(d.err), "error", d.err)
	}
}

// farewell tells what is left to be told when Run ends, in no more time than reads have to end.
func (l *pollLoop) farewell() {
	f := l.forgetting
	defer f.cancel()
	patience := time.AfterFunc(grace, f.cancel)
	defer patience.Stop()
	for l.depart(); f.running > 0; l.depart() {
		if f.ctx.Err() != nil {
			f.waiting = nil
		}
		l.departed(<-f.done)
	}
}
