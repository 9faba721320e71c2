package boundedhttp

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
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

// File reads a secret from a file at every use, without the newline at its end: mounted secrets are
// replaced while programs run.
func File(path string) Secret {
	return func() (string, error) {
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
