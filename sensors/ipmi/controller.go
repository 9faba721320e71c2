package ipmi

import (
	"context"
	"errors"
	"time"

	"github.com/bougou/go-ipmi/pkg/types"

	"github.com/leastwatt/leastwatt/sensors"
)

// A controller is one BMC and what is known of it. Whoever holds turn may use it.
type controller struct {
	node    string
	address string
	bmc     BMC
	opts    Options
	turn    chan struct{} // holds one token while someone talks to the BMC

	session   *session  // nil when logged out
	inventory inventory // survives sessions; checked again at each log-in
	noDCMI    bool      // this BMC said that it has no DCMI

	refused   error // the last refusal of the credentials
	refusedAt time.Time
}

// idleLimit is when a session is not used any more: BMCs drop one after 60 s ± 3 s without a request
// (IPMI v2.0 §6.12.15).
const idleLimit = 50 * time.Second

// login returns the session, and opens one where there is none.
func (c *controller) login(ctx context.Context) (*session, error) {
	if c.session != nil && time.Since(c.session.used) > idleLimit {
		c.drop()
	}
	if c.session != nil {
		return c.session, nil
	}
	if c.refused != nil && time.Since(c.refusedAt) < c.opts.AuthPause {
		return nil, c.refused
	}
	s, err := openSession(ctx, c.address, &c.bmc, c.opts)
	c.refused = nil
	if err != nil {
		if errors.Is(classify(err), sensors.ErrUnauthorized) {
			c.refused, c.refusedAt = err, time.Now()
		}
		return nil, err
	}
	c.session, c.noDCMI = s, false
	c.inventory.recheck()
	return s, nil
}

// logout closes the session on the BMC, as far as it answers in time.
func (c *controller) logout() {
	if c.session != nil {
		ctx, cancel := context.WithTimeout(context.Background(), c.opts.Timeout)
		defer cancel()
		c.session.closePolitely(ctx)
		c.session = nil
	}
}

// drop forgets a session that the BMC does not answer in; the BMC forgets it by itself.
func (c *controller) drop() {
	if c.session != nil {
		c.session.abandon()
		c.session = nil
	}
}

// do sends a request and waits for its answer. A BMC that stays silent in a session from before may have
// been restarted: then do logs in anew, once.
func (c *controller) do(ctx context.Context, req types.Request, res types.Response) error {
	for again := c.session != nil; ; again = false {
		s, err := c.login(ctx)
		if err != nil {
			return err
		}
		err = s.exchange(ctx, req, res)
		if !errors.Is(err, errSilent) {
			return err
		}
		c.drop()
		if !again {
			return err
		}
	}
}

func (c *controller) failure(kind sensors.Kind, err error) error {
	return &sensors.Error{Source: "ipmi", Node: c.node, Kind: kind, Err: classify(err)}
}
