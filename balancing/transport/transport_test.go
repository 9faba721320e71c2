package transport_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/leastwatt/leastwatt/balancing"
	"github.com/leastwatt/leastwatt/balancing/transport"
	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/scoring"
)

// backends starts n servers that answer with their number.
func backends(n int) (urls []*url.URL, stop func()) {
	var servers []*httptest.Server
	for i := range n {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintf(w, "%d %s %s", i, r.Host, r.URL.Path)
		}))
		u, err := url.Parse(s.URL)
		if err != nil {
			panic(err)
		}
		servers, urls = append(servers, s), append(urls, u)
	}
	return urls, func() {
		for _, s := range servers {
			s.Close()
		}
	}
}

func TestTransport(t *testing.T) {
	urls, stop := backends(3)
	defer stop()
	flights := []*atomic.Int64{new(atomic.Int64), new(atomic.Int64), new(atomic.Int64)}
	p, err := balancing.NewTwoChoices([]float64{0, 1, 1}, flights)
	if err != nil {
		t.Fatal(err)
	}
	var s balancing.Selector[*url.URL]
	client := &http.Client{Transport: &transport.Transport{Selector: &s}}
	if _, err := client.Post("http://shop.example/cart", "text/plain", strings.NewReader("x")); !errors.Is(err, transport.ErrNoEndpoint) {
		t.Errorf("without endpoints: %v", err)
	}
	s.Swap(urls, p)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 20 {
				resp, err := client.Get("http://shop.example/cart")
				if err != nil {
					t.Error(err)
					return
				}
				text, _ := io.ReadAll(resp.Body)
				resp.Body.Close()
				if from, rest, _ := strings.Cut(string(text), " "); from == "0" || rest != "shop.example /cart" {
					t.Errorf("answer %q", text)
				}
			}
		})
	}
	wg.Wait()
	for i, f := range flights {
		if f.Load() != 0 {
			t.Errorf("endpoint %d: %d requests in flight after all are answered", i, f.Load())
		}
	}
}

func TestTransportFailureIsDone(t *testing.T) {
	flights := []*atomic.Int64{new(atomic.Int64)}
	p, err := balancing.NewTwoChoices([]float64{1}, flights)
	if err != nil {
		t.Fatal(err)
	}
	var s balancing.Selector[*url.URL]
	s.Swap([]*url.URL{{Scheme: "http", Host: "127.0.0.1:1"}}, p)
	client := &http.Client{Transport: &transport.Transport{Selector: &s}}
	if _, err := client.Get("http://shop.example/"); err == nil {
		t.Error("no error from an endpoint that refuses")
	}
	if flights[0].Load() != 0 {
		t.Errorf("%d requests in flight after a failure", flights[0].Load())
	}
}

// A reverse proxy in front of two endpoints, one on a server that draws less.
func Example() {
	urls, stop := backends(2)
	defer stop()
	node := func(name string, watts ...power.Watts) *scoring.Node {
		curve, err := power.EvenPiecewise(watts...)
		if err != nil {
			panic(err)
		}
		return &scoring.Node{Name: name, Capacity: power.Capacity{Cores: 32}, Predictor: curve}
	}
	service := balancing.Service{Name: "shop/web", Rate: 100, CPU: 0.02, Endpoints: []balancing.Endpoint{
		{ID: urls[0].Host, Node: node("old", 120, 200, 310)},
		{ID: urls[1].Host, Node: node("new", 90, 120, 180)},
	}}
	shares, err := (&balancing.Optimal{Floor: -1}).Weigh(context.Background(), []balancing.Service{service})
	if err != nil {
		panic(err)
	}
	picker, err := balancing.NewRoundRobin(balancing.Values(shares[0]), 0)
	if err != nil {
		panic(err)
	}
	var selector balancing.Selector[*url.URL] // a background loop swaps in new shares
	selector.Swap(urls, picker)

	proxy := httptest.NewServer(&httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetXForwarded() },
		Transport: &transport.Transport{Selector: &selector},
	})
	defer proxy.Close()
	for range 3 {
		resp, err := http.Get(proxy.URL + "/cart")
		if err != nil {
			panic(err)
		}
		text, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		fmt.Println("endpoint", strings.Fields(string(text))[0])
	}
	// Output:
	// endpoint 1
	// endpoint 1
	// endpoint 1
}
