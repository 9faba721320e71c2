package boundedhttp_test

import (
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/leastwatt/leastwatt/internal/boundedhttp"
)

const password = "s3cret-Pa55"

func client(t *testing.T, url string, o boundedhttp.Options) *boundedhttp.Client {
	t.Helper()
	c, err := boundedhttp.New(url, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func noSecret(t *testing.T, err error) {
	t.Helper()
	if err != nil && strings.Contains(err.Error(), password) {
		t.Errorf("the error holds the credential: %v", err)
	}
}

func TestCredentialsStayWithTheOrigin(t *testing.T) {
	var leaked atomic.Int32
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { leaked.Add(1) }))
	defer other.Close()
	mux := http.NewServeMux()
	mux.HandleFunc("/away", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, other.URL+"/take?token="+password, http.StatusFound)
	})
	mux.HandleFunc("/loop", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/loop", http.StatusFound) })
	mux.HandleFunc("/once", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/here", http.StatusFound) })
	mux.HandleFunc("/here", func(w http.ResponseWriter, r *http.Request) {
		user, pass, _ := r.BasicAuth()
		_, _ = io.WriteString(w, user+" "+pass)
	})
	srv := httptest.NewServer(mux)
	defer srv.Close()
	c := client(t, srv.URL, boundedhttp.Options{Auth: boundedhttp.Basic("admin", password)})

	for _, path := range []string{"/away", "/loop", other.URL + "/direct"} {
		_, err := c.Get(t.Context(), path, nil)
		if !errors.Is(err, boundedhttp.ErrRedirect) {
			t.Errorf("%s: error %v, want ErrRedirect", path, err)
		}
		noSecret(t, err)
	}
	r, err := c.HTTP().Get(other.URL)
	if !errors.Is(err, boundedhttp.ErrRedirect) {
		t.Errorf("request of a library to another origin: error %v, want ErrRedirect", err)
	}
	if err == nil {
		r.Body.Close()
	}
	if n := leaked.Load(); n != 0 {
		t.Errorf("%d requests reached the other origin, want none", n)
	}
	got, err := c.Get(t.Context(), "once", nil)
	if err != nil || string(got.Body) != "admin "+password {
		t.Errorf("redirect within the origin: %v, %v, want it followed with credentials", got, err)
	}
}

func TestBodiesAreBounded(t *testing.T) {
	const limit = 1 << 16
	endless := strings.Repeat("x", 4096)
	mux := http.NewServeMux()
	mux.HandleFunc("/exact", func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, strings.Repeat("x", limit)) })
	mux.HandleFunc("/endless", func(w http.ResponseWriter, r *http.Request) {
		for {
			if _, err := io.WriteString(w, endless); err != nil {
				return
			}
		}
	})
	mux.HandleFunc("/bomb", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		for {
			if _, err := io.WriteString(z, endless); err != nil {
				return
			}
		}
	})
	mux.HandleFunc("/error", func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusInternalServerError)
		for {
			if _, err := io.WriteString(w, endless); err != nil {
				return
			}
		}
	})
	srv := httptest.NewServer(mux)
	defer srv.Close()
	c := client(t, srv.URL, boundedhttp.Options{MaxBytes: limit})

	if r, err := c.Get(t.Context(), "/exact", nil); err != nil || len(r.Body) != limit {
		t.Errorf("a body of just the limit: %v, want it whole", err)
	}
	for _, path := range []string{"/endless", "/bomb"} {
		if _, err := c.Get(t.Context(), path, nil); !errors.Is(err, boundedhttp.ErrTooLarge) {
			t.Errorf("%s: error %v, want ErrTooLarge", path, err)
		}
	}
	_, err := c.Get(t.Context(), "/error", nil)
	if e, ok := errors.AsType[*boundedhttp.StatusError](err); !ok || e.Code != 500 || strings.Contains(err.Error(), "xxx") {
		t.Errorf("error %.200v, want status 500 without the body", err)
	}
}

func TestHangingEndsWithTheContext(t *testing.T) {
	arrived := make(chan struct{}, 1)
	free := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/middle" {
			_, _ = io.WriteString(w, "half")
			w.(http.Flusher).Flush()
		}
		arrived <- struct{}{}
		<-free
	}))
	defer srv.Close()
	defer close(free)
	c := client(t, srv.URL, boundedhttp.Options{})
	for _, path := range []string{"/before", "/middle"} {
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			<-arrived
			cancel()
		}()
		if _, err := c.Get(ctx, path, nil); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: error %v, want context.Canceled", path, err)
		}
	}
}

func TestHangingEndsWithTheTimeout(t *testing.T) {
	free := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { <-free }))
	defer srv.Close()
	defer close(free)
	c := client(t, srv.URL, boundedhttp.Options{Timeout: time.Millisecond})
	if _, err := c.Get(t.Context(), "/", nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v, want context.DeadlineExceeded", err)
	}
}

func TestStatus(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("/busy", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Retry-After", "120")
		w.WriteHeader(http.StatusTooManyRequests)
	})
	mux.HandleFunc("/for-ages", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Retry-After", "99999999")
		w.WriteHeader(http.StatusServiceUnavailable)
	})
	mux.HandleFunc("/quota", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Retry-After", "43200")
		w.WriteHeader(http.StatusTooManyRequests)
	})
	mux.HandleFunc("/nonsense", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Retry-After", "-5 minutes")
		w.WriteHeader(http.StatusTooManyRequests)
	})
	mux.HandleFunc("/same", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusNotModified) })
	srv := httptest.NewServer(mux)
	defer srv.Close()
	c := client(t, srv.URL+"/", boundedhttp.Options{})
	for path, want := range map[string]time.Duration{"/busy": 2 * time.Minute, "/for-ages": 24 * time.Hour, "/quota": 12 * time.Hour, "/nonsense": 0, "/same": 0} {
		_, err := c.Get(t.Context(), path+"?token="+password, nil)
		e, ok := errors.AsType[*boundedhttp.StatusError](err)
		if !ok || e.RetryAfter() != want {
			t.Errorf("%s: error %v, want a StatusError with Retry-After %v", path, err, want)
		}
		noSecret(t, err)
	}
	r, err := c.Get(t.Context(), "/same", http.Header{"If-None-Match": {`"1"`}})
	if err != nil || r.Status != http.StatusNotModified {
		t.Errorf("conditional request: %v, %v, want status 304", r, err)
	}
}

// Credentials of an endpoint of the internet go in the clear to this machine and its cluster alone.
func TestPublicEndpointsWantHTTPS(t *testing.T) {
	for base, ok := range map[string]bool{"https://api.example.org": true, "http://api.example.org": false, "http://10.0.0.5:8080": false, "http://svc": false, "http://evil.org/.svc": false,
		"http://127.0.0.1:80": true, "http://[::1]:80": true, "http://localhost:80": true, "http://proxy.grid.svc": true, "http://proxy.grid.svc.cluster.local:8080": true} {
		if _, err := boundedhttp.New(base, boundedhttp.Options{Public: true}); (err == nil) != ok {
			t.Errorf("%s: error is %v", base, err)
		}
		if _, err := boundedhttp.New(base, boundedhttp.Options{}); err != nil {
			t.Errorf("%s, not public: %v", base, err)
		}
	}
}

func TestEndpointsThatAreRefused(t *testing.T) {
	for _, base := range []string{"", "bmc-1", "ftp://bmc", "https://", "https://admin:" + password + "@bmc", "http://a b:" + password + "@[::1"} {
		_, err := boundedhttp.New(base, boundedhttp.Options{})
		if err == nil {
			t.Errorf("New(%q) succeeded, want an error", base)
		}
		noSecret(t, err)
	}
}

func TestAnUnknownCertificateIsRefused(t *testing.T) {
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	srv.Config.ErrorLog = nil
	srv.StartTLS()
	defer srv.Close()
	if _, err := client(t, srv.URL, boundedhttp.Options{}).Get(t.Context(), "/", nil); err == nil {
		t.Error("a certificate of an unknown authority was accepted")
	}
	skip, err := boundedhttp.TLS{InsecureSkipVerify: true}.Config()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client(t, srv.URL, boundedhttp.Options{TLS: skip}).Get(t.Context(), "/", nil); err != nil {
		t.Errorf("insecureSkipVerify: %v", err)
	}
	if _, err := client(t, srv.URL, boundedhttp.Options{}).Get(t.Context(), "/", nil); err == nil {
		t.Error("insecureSkipVerify of one endpoint reached another")
	}
}

func TestFileSecretsFollowTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	s := boundedhttp.File(path)
	if _, err := s(); err == nil {
		t.Error("a missing file gave a secret")
	}
	for content, want := range map[string]string{"one\n": "one", "two": "two", "": "", "a\nb": "", strings.Repeat("x", 1<<17): ""} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := s()
		if got != want || (err == nil) != (want != "") {
			t.Errorf("file of %d bytes: %q, %v, want %q", len(content), got, err, want)
		}
	}
}

// A secret is read again when its file may have changed, and only then.
func TestUnchangedFilesAreReadOnce(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "token")
	old := time.Now().Add(-time.Hour)
	put := func(name, content string, at time.Time) {
		t.Helper()
		if err := errors.Join(os.WriteFile(name, []byte(content), 0o600), os.Chtimes(name, at, at)); err != nil {
			t.Fatal(err)
		}
	}
	reads := 0
	s := boundedhttp.Unchanged(path, func() (string, error) {
		reads++
		return boundedhttp.File(path)()
	})
	check := func(what, want string, more int) {
		t.Helper()
		before := reads
		for range 3 {
			if got, err := s(); got != want || (err == nil) != (want != "") {
				t.Errorf("%s: %q, %v, want %q", what, got, err, want)
			}
		}
		if reads-before != more {
			t.Errorf("%s: read %d times by three uses, want %d", what, reads-before, more)
		}
	}
	put(path, "one", old)
	check("an old file", "one", 1)
	check("the same file", "one", 0)
	put(path, "two", old.Add(time.Second))
	check("another time", "two", 1)
	put(path, "three", old.Add(time.Second))
	check("another size", "three", 1)
	put(filepath.Join(dir, "new"), "seven", old.Add(time.Second))
	if err := os.Rename(filepath.Join(dir, "new"), path); err != nil {
		t.Fatal(err)
	}
	check("another file of the same time and size", "seven", 1)
	put(path, "eight", time.Now()) // it may change again within a tick of the file system's clock
	check("a file that has just changed", "eight", 3)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	check("no file", "", 3)
}
