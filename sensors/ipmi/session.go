package ipmi

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/bougou/go-ipmi/pkg/client"
	"github.com/bougou/go-ipmi/pkg/command/app"
	"github.com/bougou/go-ipmi/pkg/types"

	"github.com/leastwatt/leastwatt/sensors"
)

// errSilent says that a request was sent as often as allowed and never answered.
var errSilent = errors.New("no answer")

// maxPassword is IPMI v2.0's limit (§22.30).
const maxPassword = 20

// A session is one RMCP+ session. It serves one request at a time.
//
// The library's own Connect would start a goroutine that sends requests of its own into the session every
// 30 s, and it asks for the channel's capabilities first, which no BMC needs once the suite is known. So the
// messages of the handshake are sent one by one here.
type session struct {
	client   *client.Client
	guard    *guard
	attempts int
	timeout  time.Duration
	used     time.Time
}

// openSession opens a session, and tries again where nothing came back: from a new port, because a late answer
// to the first try would fit no random number of the second, and look like a wrong password.
func openSession(ctx context.Context, address string, b *BMC, o Options) (s *session, err error) {
	for range o.Attempts {
		if s, err = connect(ctx, address, b, o); !errors.Is(err, errSilent) || over(ctx) != nil {
			break
		}
	}
	return s, err
}

func connect(ctx context.Context, address string, b *BMC, o Options) (_ *session, err error) {
	password, err := b.PasswordFrom()
	if err != nil {
		return nil, fmt.Errorf("%w: no password: %w", sensors.ErrUnauthorized, err)
	}
	if len(password) > maxPassword {
		return nil, fmt.Errorf("%w: the password has %d bytes, IPMI allows %d", sensors.ErrUnauthorized, len(password), maxPassword)
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, "udp", address)
	if err != nil {
		return nil, err
	}
	g := newGuard(conn, b.Username, password, types.CipherSuiteID(b.CipherSuite))
	host, portText, _ := net.SplitHostPort(address)
	port, _ := strconv.Atoi(portText)
	cl, err := client.NewClient(host, port, b.Username, password)
	if err != nil {
		conn.Close()
		return nil, errors.New("the library refused the user name") // its own text holds the name
	}
	cl.WithUDPProxy(onlyDialer{g}).WithTimeout(o.Timeout).WithRetry(0).
		WithCipherSuiteID(types.CipherSuiteID(b.CipherSuite)).WithMaxPrivilegeLevel(types.PrivilegeLevelUser)
	s := &session{client: cl, guard: g, attempts: 1, timeout: o.Timeout, used: time.Now()}
	defer func() {
		if err != nil {
			s.abandon()
		}
	}()
	if err := s.handshake(ctx); err != nil {
		return nil, err
	}
	s.attempts = o.Attempts
	return s, nil
}

// handshake sends IPMI v2.0 §13.15's messages, each once.
func (s *session) handshake(ctx context.Context) error {
	for _, step := range []struct {
		what string
		send func(context.Context) error
	}{
		{"open session", func(ctx context.Context) error { _, err := s.client.OpenSession(ctx); return err }},
		{"authenticate the BMC", func(ctx context.Context) error { _, err := s.client.RAKPMessage1(ctx); return err }},
		{"authenticate to the BMC", func(ctx context.Context) error { _, err := s.client.RAKPMessage3(ctx); return err }},
	} {
		if err := s.try(ctx, step.send); err != nil {
			return fmt.Errorf("%s: %w", step.what, err)
		}
	}
	s.guard.establish()
	return nil
}

// exchange sends one request in the session. A repetition carries a new sequence number, because a BMC
// drops one that it has seen.
func (s *session) exchange(ctx context.Context, req types.Request, res types.Response) error {
	err := s.try(ctx, func(ctx context.Context) error { return s.client.Exchange(ctx, req, res) })
	if err == nil || isCompletion(err) {
		s.used = time.Now()
	}
	return err
}

func (s *session) try(ctx context.Context, send func(context.Context) error) (err error) {
	defer func() { // foreign bytes in a young library
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: decoding panicked: %v", errBadAnswer, p)
		}
	}()
	stop := context.AfterFunc(ctx, s.guard.interrupt)
	defer stop()
	for n := 1; ; n++ {
		if err := over(ctx); err != nil {
			return err
		}
		s.guard.resume()
		sent := time.Now()
		err := send(ctx)
		if ended := over(ctx); err != nil && ended != nil {
			if time.Since(sent) >= s.timeout/2 { // a fair chance to answer was missed
				return errors.Join(errSilent, ended)
			}
			return ended
		}
		if _, lost := errors.AsType[net.Error](err); lost && !s.guard.timedOut() {
			return errors.Join(errSilent, err) // refused, no route: asking again at once is no use
		}
		if err == nil || isCompletion(err) || !s.guard.timedOut() {
			return err
		}
		if n == s.attempts {
			return fmt.Errorf("%w to %d requests within %v each", errSilent, n, s.timeout)
		}
	}
}

// over is ctx.Err, but not late: the socket's deadline is the context's, and ends first.
func over(ctx context.Context) error {
	if d, ok := ctx.Deadline(); ok && !time.Now().Before(d) {
		return context.DeadlineExceeded
	}
	return ctx.Err()
}

func (s *session) closePolitely(ctx context.Context) {
	s.attempts = 1
	_ = s.exchange(ctx, &app.CloseSessionRequest{SessionID: s.guard.bmcSession()}, &app.CloseSessionResponse{})
	s.abandon()
}

func (s *session) abandon() { s.guard.Close() }

// onlyDialer makes the library use a socket that is open already.
type onlyDialer struct{ conn net.Conn }

func (d onlyDialer) Dial(string, string) (net.Conn, error) { return d.conn, nil }
