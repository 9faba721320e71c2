package boundedhttp

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"
)

// Auth adds credentials to a request. Its error must not contain them.
type Auth func(*http.Request) error

// Basic authorizes with a user and a password.
func Basic(user, password string) Auth {
	return func(r *http.Request) error {
		r.SetBasicAuth(user, password)
		return nil
	}
}

// Bearer authorizes with a token.
func Bearer(token string) Auth {
	return func(r *http.Request) error {
		r.Header.Set("Authorization", "Bearer "+token)
		return nil
	}
}

// BasicFunc authorizes with a password that is asked for at every request, so that it can change: see [File].
func BasicFunc(user string, password Secret) Auth {
	return func(r *http.Request) error {
		p, err := password()
		if err != nil {
			return err
		}
		r.SetBasicAuth(user, p)
		return nil
	}
}

// BearerFunc authorizes with a token that may change.
func BearerFunc(token Secret) Auth {
	return func(r *http.Request) error {
		t, err := token()
		if err != nil {
			return err
		}
		r.Header.Set("Authorization", "Bearer "+t)
		return nil
	}
}

// A Secret returns a credential as it is now.
type Secret func() (string, error)

// File reads a secret from a file, without the newline at its end, and again whenever the file has changed: mounted
// secrets are replaced while programs run.
func File(path string) Secret {
	return Unchanged(path, func() (string, error) {
		f, err := os.Open(path)
		if err != nil {
			return "", fmt.Errorf("secret: %w", err)
		}
		defer f.Close()
		const limit = 64 << 10
		b, err := io.ReadAll(io.LimitReader(f, limit+1))
		if err != nil {
			return "", fmt.Errorf("secret: %w", err)
		}
		if len(b) > limit {
			return "", fmt.Errorf("secret: file %s is larger than %d bytes", path, limit)
		}
		return OneLine(string(b), path)
	})
}

// settled is how old a change of a file must be before it is sure to show in the file's time: a second change may
// come within the same tick of the file system's clock, of which the coarsest in use has one every two seconds.
const settled = 3 * time.Second

// Unchanged returns what read returned, for as long as the file at path is the same with the same time and size; a
// thousand devices that are asked every few seconds need not have as many files opened. Errors are not kept.
func Unchanged(path string, read Secret) Secret {
	var mu sync.Mutex
	var was os.FileInfo // nil: nothing is kept
	var kept string
	return func() (string, error) {
		mu.Lock()
		defer mu.Unlock()
		is, err := os.Stat(path)
		if err == nil && was != nil && os.SameFile(was, is) && was.Size() == is.Size() && was.ModTime().Equal(is.ModTime()) {
			return kept, nil
		}
		was = nil
		text, errRead := read()
		if err == nil && errRead == nil && time.Since(is.ModTime()) > settled {
			was, kept = is, text
		}
		return text, errRead
	}
}

// OneLine returns the one line that a secret is, without its end; file is the name that errors give.
func OneLine(text, file string) (string, error) {
	s := strings.TrimRight(text, "\r\n")
	switch {
	case s == "":
		return "", fmt.Errorf("secret: file %s is empty", file)
	case strings.ContainsAny(s, "\r\n"):
		return "", fmt.Errorf("secret: file %s has more than one line", file)
	}
	return s, nil
}

// Env reads a secret from an environment variable at every use.
func Env(name string) Secret {
	return func() (string, error) {
		s, ok := os.LookupEnv(name)
		if !ok || s == "" {
			return "", fmt.Errorf("secret: environment variable %s is not set", name)
		}
		return s, nil
	}
}

// Literal is a secret that was given.
func Literal(s string) Secret {
	return func() (string, error) {
		if s == "" {
			return "", errors.New("secret: empty")
		}
		return s, nil
	}
}
