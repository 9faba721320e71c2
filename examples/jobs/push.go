package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

// A pusher reads nodes' exporters and sends what they say to a job service. It keeps nothing: what cannot be sent is
// lost, and the next reading is sent.
type pusher struct {
	to    *url.URL
	token func() (string, error) // nil for none
	from  map[string]string      // exporters by node
	read  *http.Client
	send  *http.Client
	every time.Duration
	log   *slog.Logger

	mu   sync.Mutex
	sent map[string]time.Time // when the service last took a node's text; guarded by mu
}

// push runs a pusher until ctx is done; /healthz and /readyz of -listen tell how it fares.
func push(ctx context.Context, o *options, out io.Writer, log *slog.Logger) error {
	p, err := newPusher(o, log)
	if err != nil {
		return err
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", o.listen)
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if late := p.late(time.Now()); len(late) > 0 {
			http.Error(w, "not taken of late: "+strings.Join(late, ", "), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	var wg sync.WaitGroup
	defer wg.Wait()
	defer func() { _ = server.Close() }()
	wg.Go(func() { _ = server.Serve(listener) })
	url := "http://" + listener.Addr().String()
	if o.listening != nil {
		o.listening(url)
	} else {
		fmt.Fprintf(out, "pushing %d nodes to %s, health at %s\n", len(p.from), p.to.Redacted(), url)
	}
	p.run(ctx)
	return nil
}

func newPusher(o *options, log *slog.Logger) (*pusher, error) {
	to, err := url.Parse(o.push)
	if err != nil || to.Host == "" || to.Scheme != "http" && to.Scheme != "https" || to.User != nil || to.RawQuery != "" {
		return nil, errors.New("-push: want the URL of a job service, http://HOST[:PORT] or https://HOST[:PORT], without user or query")
	}
	if o.tokenFile != "" && to.Scheme == "http" && !near(to.Hostname()) {
		return nil, fmt.Errorf("-push http://%s: the token would go over the wire in the clear: give an https URL; http is for loopback and Services (*.svc)", to.Host)
	}
	endpoints, err := parseScrape(o.scrape)
	if err != nil {
		return nil, err
	}
	if len(endpoints) == 0 {
		return nil, errors.New("-push needs -scrape NODE=URL")
	}
	if o.scrapeEvery <= 0 {
		return nil, errors.New("-scrape-interval: want more than 0")
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	if o.pushCA != "" {
		pem, err := os.ReadFile(o.pushCA)
		if err != nil {
			return nil, fmt.Errorf("-push-ca-file: %w", err)
		}
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("-push-ca-file %s: no certificate in it", o.pushCA)
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: roots}
	}
	p := &pusher{to: to, token: o.token(), every: o.scrapeEvery, log: log, from: make(map[string]string), sent: make(map[string]time.Time),
		read: &http.Client{Timeout: min(5*time.Second, o.scrapeEvery)},
		// The token goes where the flag says and nowhere else.
		send: &http.Client{Timeout: 10 * time.Second, Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
	}
	for node, e := range endpoints {
		p.from[node] = e.URL
	}
	return p, nil
}

// near tells whether a name stands for this machine, or for a Service of this cluster.
func near(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback() || strings.HasSuffix(host, ".svc") || strings.HasSuffix(host, ".svc.cluster.local")
}

// run pushes at once and at every interval.
func (p *pusher) run(ctx context.Context) {
	t := time.NewTicker(p.every)
	defer t.Stop()
	for {
		var wg sync.WaitGroup
		few := make(chan struct{}, 16)
		for node := range p.from {
			few <- struct{}{}
			wg.Go(func() {
				defer func() { <-few }()
				if err := p.one(ctx, node); err != nil && ctx.Err() == nil {
					p.log.Warn("pushing", "node", node, "error", err)
				}
			})
		}
		wg.Wait()
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}

// one reads one node's exporter and sends its text as it is.
func (p *pusher) one(ctx context.Context, node string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.from[node], nil)
	if err != nil {
		return err
	}
	text, err := answerOf(p.read, req, http.StatusOK)
	if err != nil {
		return fmt.Errorf("exporter: %w", err)
	}
	to := p.to.JoinPath("metrics-ingest")
	to.RawQuery = url.Values{"node": {node}}.Encode()
	if req, err = http.NewRequestWithContext(ctx, http.MethodPost, to.String(), bytes.NewReader(text)); err != nil {
		return err
	}
	req.Header.Set("Content-Type", "text/plain; version=0.0.4")
	if p.token != nil {
		token, err := p.token()
		if err != nil {
			return fmt.Errorf("-token-file: %w", err)
		}
		req.Header.Set("Authorization", "Bearer "+token)
	}
	if _, err := answerOf(p.send, req, http.StatusAccepted); err != nil {
		return fmt.Errorf("job service: %w", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sent[node] = time.Now()
	return nil
}

// late names the nodes whose text was not taken for three intervals.
func (p *pusher) late(now time.Time) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.DeleteFunc(slices.Sorted(maps.Keys(p.from)), func(node string) bool { return now.Sub(p.sent[node]) <= 3*p.every })
}

// answerOf returns the body of an answer with the wanted status, of at most maxBody bytes.
func answerOf(c *http.Client, req *http.Request, want int) ([]byte, error) {
	resp, err := c.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != want {
		said, _ := io.ReadAll(io.LimitReader(resp.Body, 200)) // an error's cause; that it cannot be read adds nothing
		return nil, fmt.Errorf("%s %s: %s: %q", req.Method, req.URL.Redacted(), resp.Status, said)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	if err == nil && len(body) > maxBody {
		err = fmt.Errorf("%s: more than %d bytes", req.URL.Redacted(), maxBody)
	}
	return body, err
}
