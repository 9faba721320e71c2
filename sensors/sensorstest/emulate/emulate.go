// Package emulate holds devices that run in the same process: a BMC that speaks Redfish, a Kepler exporter.
// Tests, benchmarks and examples share them. They measure a machine that the caller describes, live, by a
// function that returns a [Machine]; their main types are [BMC] and [Kepler].
//
// They are meant for loopback, and import nothing of package testing.
package emulate

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"math"
	"math/big"
	"net"
	"net/http"
	"time"
)

// A Machine is what an emulated device measures. NaN is a sensor that the machine lacks.
type Machine struct {
	Watts       float64 // whole server, AC side
	Inlet       float64 // °C
	Exhaust     float64 // °C
	CPUTemp     float64 // °C
	FanRPM      float64
	Utilization float64 // CPU, 0 to 1
	CPUWatts    float64 // packages
	DRAMWatts   float64
	Joules      float64 // counter, whole server
	CPUJoules   float64 // counter, packages
	DRAMJoules  float64 // counter
	GPUWatts    float64 // of each of two GPUs
	GPUJoules   float64 // counter, of each
	GPUUtil     float64 // 0 to 1
	GPUTemp     float64 // °C
	Pressure    float64 // Pa, between the aisles

	// At is when it was measured; the zero time is now.
	At time.Time
}

// Blank returns a machine without any sensor, to be filled in.
func Blank() Machine {
	n := math.NaN()
	return Machine{Watts: n, Inlet: n, Exhaust: n, CPUTemp: n, FanRPM: n, Utilization: n, CPUWatts: n, DRAMWatts: n, Joules: n, CPUJoules: n, DRAMJoules: n,
		GPUWatts: n, GPUJoules: n, GPUUtil: n, GPUTemp: n, Pressure: n}
}

// An Authority signs the certificates of emulated devices. It is safe for concurrent use.
type Authority struct {
	cert tls.Certificate
	pem  []byte
}

// NewAuthority makes an authority with a new key, and one certificate for 127.0.0.1, ::1 and localhost
// that all its devices share.
func NewAuthority() (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("emulate: authority: %w", err)
	}
	now := time.Now()
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Leastwatt emulated devices"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(365 * 24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, ca, ca, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("emulate: authority: %w", err)
	}
	leafKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("emulate: certificate: %w", err)
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "emulated device"},
		NotBefore: ca.NotBefore, NotAfter: ca.NotAfter, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}, DNSNames: []string{"localhost"},
	}
	leafDER, err := x509.CreateCertificate(rand.Reader, leaf, ca, leafKey.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("emulate: certificate: %w", err)
	}
	return &Authority{
		cert: tls.Certificate{Certificate: [][]byte{leafDER}, PrivateKey: leafKey},
		pem:  pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
	}, nil
}

// PEM returns the authority's certificate, for a file that clients verify against.
func (a *Authority) PEM() []byte { return a.pem }

// ClientTLS returns a configuration that trusts the authority alone.
func (a *Authority) ClientTLS() *tls.Config {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(a.pem)
	return &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
}

// A Server is a device that listens on a port of its own on loopback.
type Server struct {
	URL  string // scheme, host and port
	http *http.Server
	done chan struct{}
	err  error // that it ended with; to be read when it is done
}

// Listen serves a device over HTTPS, or over HTTP where the authority is nil, until Close.
func Listen(a *Authority, device http.Handler) (*Server, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("emulate: %w", err)
	}
	s := &Server{URL: "http://" + l.Addr().String(), done: make(chan struct{})}
	if a != nil {
		s.URL = "https://" + l.Addr().String()
		l = tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{a.cert}, MinVersion: tls.VersionTLS12})
	}
	s.http = &http.Server{Handler: device, ReadHeaderTimeout: 10 * time.Second, ErrorLog: log.New(io.Discard, "", 0)}
	go func() {
		defer close(s.done)
		if err := s.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			s.err = err
		}
	}()
	return s, nil
}

// Close stops listening, breaks off what is under way, and returns when the listener has ended. It may be called again.
func (s *Server) Close() error {
	err := s.http.Close()
	<-s.done
	return errors.Join(err, s.err)
}
