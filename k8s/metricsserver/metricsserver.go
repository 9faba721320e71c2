// Package metricsserver reads the CPU and memory of nodes from the resource metrics API (metrics.k8s.io),
// which metrics-server serves in most clusters.
//
// Its main type is [Source], a [sensors.BatchSource]: one list request serves all nodes. It gives
// [sensors.CPUUsed] and [sensors.MemoryUsed]. The API's window ends at its timestamp: memory is as old as the
// timestamp, and CPU, which is a mean over the window, as old as the window's middle.
//
// It needs the verbs get and list on nodes of the group metrics.k8s.io.
package metricsserver

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/rest"
	metrics "k8s.io/metrics/pkg/apis/metrics/v1beta1"

	"github.com/leastwatt/leastwatt/sensors"
)

// Options tune a [Source]. The zero value works.
type Options struct {
	Timeout  time.Duration // of one request; 0 means 5 seconds
	MaxBytes int64         // of one answer, unpacked; 0 means 16 MiB, which holds far more than 5,000 nodes
}

// Source reads all nodes of one cluster. It is safe for concurrent use.
type Source struct {
	client rest.Interface
	http   *http.Client
}

var _ sensors.BatchSource = (*Source)(nil)

const name = "metrics.k8s.io"

// New returns a source for the API server that config names. It connects to nothing, leaves config as it is,
// and follows no redirect, so that credentials stay with that server.
func New(config *rest.Config, o Options) (*Source, error) {
	c := rest.CopyConfig(config)
	c.APIPath, c.GroupVersion = "/apis", &metrics.SchemeGroupVersion
	c.ContentConfig.ContentType, c.ContentConfig.AcceptContentTypes = runtime.ContentTypeJSON, runtime.ContentTypeJSON
	scheme := runtime.NewScheme()
	metav1.AddToGroupVersion(scheme, schema.GroupVersion{Version: "v1"}) // the API server's errors
	c.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	c.Timeout = cmp.Or(o.Timeout, 5*time.Second)
	limit := cmp.Or(o.MaxBytes, 16<<20)
	c.Wrap(func(next http.RoundTripper) http.RoundTripper { return &limited{next, limit} })
	h, err := rest.HTTPClientFor(c)
	if err != nil {
		return nil, fmt.Errorf("metricsserver: %w", err)
	}
	if h == http.DefaultClient {
		h = new(http.Client)
	}
	h.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	client, err := rest.RESTClientForConfigAndClient(c, h)
	if err != nil {
		return nil, fmt.Errorf("metricsserver: %w", err)
	}
	return &Source{client: client, http: h}, nil
}

// String returns "metrics.k8s.io".
func (s *Source) String() string { return name }

// Close closes unused connections.
func (s *Source) Close() error { s.http.CloseIdleConnections(); return nil }

// Read implements [sensors.SensorSource].
func (s *Source) Read(ctx context.Context, node string) ([]sensors.Reading, error) {
	result := s.client.Get().Resource("nodes").Name(node).MaxRetries(0).Do(ctx)
	body, err := result.Raw()
	if err != nil {
		err = result.Error() // Raw's does not tell what the server means
		return nil, &sensors.Error{Source: name, Node: node, Err: cause(err, node)}
	}
	return readings(node, body, time.Now())
}

// ReadAll implements [sensors.BatchSource]. A node whose entry cannot be understood spoils no other.
func (s *Source) ReadAll(ctx context.Context, nodes []string) (map[string][]sensors.Reading, map[string]error) {
	if len(nodes) == 0 {
		return nil, nil
	}
	of, errs := make(map[string][]sensors.Reading, len(nodes)), make(map[string]error)
	items, err := s.list(ctx)
	now := time.Now()
	for _, node := range nodes {
		switch item, ok := items[node]; {
		case err != nil:
			errs[node] = &sensors.Error{Source: name, Node: node, Err: err}
		case !ok:
			errs[node] = &sensors.Error{Source: name, Node: node, Err: fmt.Errorf("%w: not in the list of node metrics", sensors.ErrUnknownNode)}
		default:
			r, err := readings(node, item, now)
			if len(r) > 0 {
				of[node] = r
			}
			if err != nil {
				errs[node] = err
			}
		}
	}
	return of, errs
}

// list returns the entry of each node.
func (s *Source) list(ctx context.Context) (map[string]json.RawMessage, error) {
	body, err := s.client.Get().Resource("nodes").MaxRetries(0).Do(ctx).Raw()
	if err != nil {
		return nil, cause(err, "")
	}
	return split(body)
}

// split takes a list apart. Entries without a name are left out; of two of one name the last counts.
func split(body []byte) (map[string]json.RawMessage, error) {
	var l struct {
		Items []json.RawMessage `json:"items"`
	}
	if err := json.Unmarshal(body, &l); err != nil {
		return nil, fmt.Errorf("%w: not a list of node metrics: %w", sensors.ErrMalformed, err)
	}
	if l.Items == nil {
		return nil, fmt.Errorf("%w: not a list of node metrics: no items", sensors.ErrMalformed)
	}
	items := make(map[string]json.RawMessage, len(l.Items))
	for _, item := range l.Items {
		var n struct {
			Metadata struct {
				Name string `json:"name"`
			} `json:"metadata"`
		}
		if json.Unmarshal(item, &n) == nil && n.Metadata.Name != "" {
			items[n.Metadata.Name] = item
		}
	}
	return items, nil
}

// readings reads one node's entry, which came at now.
func readings(node string, body []byte, now time.Time) ([]sensors.Reading, error) {
	var m metrics.NodeMetrics
	if err := json.Unmarshal(body, &m); err != nil {
		return nil, &sensors.Error{Source: name, Node: node, Err: fmt.Errorf("%w: not node metrics: %w", sensors.ErrMalformed, err)}
	}
	end, middle := m.Timestamp.Time, m.Timestamp.Add(-max(m.Window.Duration, 0)/2)
	if end.IsZero() {
		end, middle = now, now
	}
	var (
		all  []sensors.Reading
		errs []error
	)
	for _, u := range []struct {
		kind     sensors.Kind
		resource v1.ResourceName
		at       time.Time
	}{{sensors.CPUUsed, v1.ResourceCPU, middle}, {sensors.MemoryUsed, v1.ResourceMemory, end}} {
		q, ok := m.Usage[u.resource]
		if !ok {
			errs = append(errs, &sensors.Error{Source: name, Node: node, Kind: u.kind, Err: fmt.Errorf("%w: usage has no %s", sensors.ErrNoReading, u.resource)})
			continue
		}
		value := q.AsApproximateFloat64()
		if err := sensors.Possible(u.kind, value); err != nil {
			errs = append(errs, &sensors.Error{Source: name, Node: node, Kind: u.kind, Err: err})
			continue
		}
		all = append(all, sensors.Reading{Kind: u.kind, Value: value, At: u.at, Source: name + ":" + string(u.resource)})
	}
	return all, errors.Join(errs...)
}
