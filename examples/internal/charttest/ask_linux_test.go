package charttest

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/leastwatt/leastwatt/examples/internal/controlplane"
)

// get asks a program with the token of a service account of the namespace; "" is no token.
func (x *installation) get(ctx context.Context, url, account string, verify *tls.Config) (int, string, error) {
	token := ""
	if account != "" {
		var err error
		if token, err = x.token(ctx, account); err != nil {
			return 0, "", err
		}
	}
	return send(ctx, http.MethodGet, url, token, "", verify)
}

// ask sends JSON to a program.
func (x *installation) ask(ctx context.Context, method, url, token, body string) (int, string, error) {
	return send(ctx, method, url, token, body, nil)
}

// send returns status 0 where nobody answers yet.
func send(ctx context.Context, method, url, token, body string, verify *tls.Config) (int, string, error) {
	if verify == nil {
		verify = &tls.Config{InsecureSkipVerify: true} // the scheduler's certificate is of its own making
	}
	transport := &http.Transport{TLSClientConfig: verify}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, "", nil // not up yet
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 16<<20))
	return resp.StatusCode, string(text), err
}

func answers(url string) func(context.Context) error {
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}}
	return func(ctx context.Context) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		resp, err := client.Do(req)
		if err != nil {
			return err
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("%s: %s", url, resp.Status)
		}
		return nil
	}
}

// stop ends a program, which must not have been refused anything.
func (x *installation) stop(p *controlplane.Process) {
	p.Stop()
	log, err := os.ReadFile(p.LogFile())
	if err != nil {
		x.Error(err)
	}
	for line := range strings.Lines(string(log)) {
		if strings.Contains(strings.ToLower(line), "forbidden") && !strings.Contains(line, "stranger") {
			x.Errorf("a right is missing: %s", line)
		}
	}
}

// until asks every 100 ms until it is so, for at most a minute.
func until(ctx context.Context, is func(ctx context.Context) (bool, error)) error {
	return wait.PollUntilContextTimeout(ctx, 100*time.Millisecond, time.Minute, true, is)
}
