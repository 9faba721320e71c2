package boundedhttp

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
)

// TLS says how an endpoint is verified. The zero value verifies against the system's roots.
type TLS struct {
	CAFile             string // PEM; replaces the system's roots
	CertFile, KeyFile  string // PEM; a client certificate
	ServerName         string // the name to verify where the endpoint's address is not in its certificate
	InsecureSkipVerify bool   // for this endpoint alone
}

// Config reads the files and returns a configuration of its own, TLS 1.2 or later.
func (t TLS) Config() (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName, InsecureSkipVerify: t.InsecureSkipVerify}
	if t.CAFile != "" {
		if t.InsecureSkipVerify {
			return nil, errors.New("tls: caFile and insecureSkipVerify exclude each other")
		}
		pem, err := os.ReadFile(t.CAFile)
		if err != nil {
			return nil, fmt.Errorf("tls: caFile: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("tls: caFile: %s holds no PEM certificate", t.CAFile)
		}
	}
	if (t.CertFile == "") != (t.KeyFile == "") {
		return nil, errors.New("tls: certFile and keyFile need each other")
	}
	if t.CertFile != "" {
		cert, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("tls: client certificate: %w", err)
		}
		c.Certificates = []tls.Certificate{cert}
	}
	return c, nil
}
