package metricsserver

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/leastwatt/leastwatt/sensors"
)

// cause turns an error of the client into one of package sensors. What the server wrote is not repeated: it
// may hold what was sent to it.
func cause(err error, node string) error {
	if errors.Is(err, errTooLarge) {
		return fmt.Errorf("%w: %w", sensors.ErrMalformed, errTooLarge)
	}
	status, ok := errors.AsType[*apierrors.StatusError](err)
	if !ok {
		return fmt.Errorf("%w: %w", sensors.ErrUnreachable, err)
	}
	s := status.Status()
	switch {
	case s.Code == http.StatusUnauthorized, s.Code == http.StatusForbidden:
		return fmt.Errorf("%w: status %d: the account needs get and list on nodes of metrics.k8s.io", sensors.ErrUnauthorized, s.Code)
	case s.Code == http.StatusTooManyRequests:
		return fmt.Errorf("%w: status %d", sensors.ErrThrottled, s.Code)
	case s.Code == http.StatusNotFound && node != "" && s.Details != nil && s.Details.Name == node && !unexpected(s):
		return fmt.Errorf("%w: no node metrics of this name", sensors.ErrUnknownNode)
	case s.Code == http.StatusNotFound, s.Code == http.StatusServiceUnavailable:
		return fmt.Errorf("%w: status %d: is metrics-server installed and ready?", sensors.ErrDevice, s.Code)
	}
	return fmt.Errorf("%w: status %d", sensors.ErrDevice, s.Code)
}

// unexpected says that the client made the status itself, of an answer that held none: the path is not served.
func unexpected(s metav1.Status) bool {
	return slices.ContainsFunc(s.Details.Causes, func(c metav1.StatusCause) bool {
		return c.Type == metav1.CauseTypeUnexpectedServerResponse
	})
}

var errTooLarge = errors.New("the answer is larger than allowed")

// limited ends the bodies that its transport gives after limit bytes, with an error.
type limited struct {
	next  http.RoundTripper
	limit int64
}

// RoundTrip implements [http.RoundTripper].
func (l *limited) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := l.next.RoundTrip(r)
	if err == nil {
		resp.Body = &limitedBody{resp.Body, l.limit}
	}
	return resp, err
}

// WrappedRoundTripper lets client-go see the transport below.
func (l *limited) WrappedRoundTripper() http.RoundTripper { return l.next }

// CloseIdleConnections closes those of the transport below.
func (l *limited) CloseIdleConnections() {
	if c, ok := l.next.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

type limitedBody struct {
	io.ReadCloser
	left int64
}

func (b *limitedBody) Read(p []byte) (int, error) {
	if int64(len(p)) > b.left+1 {
		p = p[:b.left+1]
	}
	n, err := b.ReadCloser.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, errTooLarge
	}
	return n, err
}
