package controlplane

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// lifetime of the certificates: a cluster that -keep leaves up may stay so for a while.
const lifetime = 30 * 24 * time.Hour

// authority is a certificate authority that lives as long as one cluster.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

// pair is a certificate and its key, in PEM.
type pair struct{ cert, key []byte }

func newAuthority(name string) (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             time.Now().Add(-time.Hour), // a clock may be a little off
		NotAfter:              time.Now().Add(lifetime),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("authority %s: %w", name, err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &authority{cert: cert, key: key, pem: encodeCertificate(der)}, nil
}

// client issues a certificate that proves an identity: Kubernetes reads the user's name from the common
// name and the groups from the organisations.
func (a *authority) client(user string, groups ...string) (pair, error) {
	return a.issue(&x509.Certificate{
		Subject:     pkix.Name{CommonName: user, Organization: groups},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
}

// server issues a certificate for a server on loopback. It also serves as a client certificate,
// because etcd is a client of itself.
func (a *authority) server(name string, names ...string) (pair, error) {
	return a.issue(&x509.Certificate{
		Subject:     pkix.Name{CommonName: name},
		DNSNames:    append([]string{"localhost"}, names...),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback, net.ParseIP(serviceIP)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	})
}

func (a *authority) issue(template *x509.Certificate) (pair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return pair{}, err
	}
	if template.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120)); err != nil {
		return pair{}, err
	}
	template.NotBefore, template.NotAfter = a.cert.NotBefore, a.cert.NotAfter
	template.KeyUsage = x509.KeyUsageDigitalSignature
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		return pair{}, fmt.Errorf("certificate of %s: %w", template.Subject.CommonName, err)
	}
	pem, err := encodeKey(key)
	if err != nil {
		return pair{}, err
	}
	return pair{cert: encodeCertificate(der), key: pem}, nil
}

func encodeCertificate(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func encodeKey(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), nil
}

func encodePublicKey(key crypto.PublicKey) ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), nil
}

// credentials are all keys and certificates of one cluster.
type credentials struct {
	ca         *authority // signs servers and clients of the cluster
	frontProxy *authority // signs the API server's identity towards extension API servers
	admin      pair
	tls        *tls.Config // the administrator's client side
}

// newCredentials makes the keys of a cluster and writes those that its programs read into folder:
// ca.crt, front-proxy-ca.crt, and NAME.crt and NAME.key of each server and client.
func newCredentials(folder string) (*credentials, error) {
	if err := os.Mkdir(folder, 0o700); err != nil {
		return nil, err
	}
	var c credentials
	var err error
	if c.ca, err = newAuthority("leastwatt-ca"); err != nil {
		return nil, err
	}
	if c.frontProxy, err = newAuthority("leastwatt-front-proxy-ca"); err != nil {
		return nil, err
	}
	files := map[string][]byte{"ca.crt": c.ca.pem, "front-proxy-ca.crt": c.frontProxy.pem}
	add := func(name string, p pair, err error) error {
		files[name+".crt"], files[name+".key"] = p.cert, p.key
		return err
	}
	server := func(name string, names ...string) error {
		p, err := c.ca.server(name, names...)
		return add(name, p, err)
	}
	for _, issue := range []func() error{
		func() error { return server("etcd") },
		func() error { return server("kube-scheduler") },
		func() error {
			return server("kube-apiserver", "kubernetes", "kubernetes.default", "kubernetes.default.svc")
		},
		func() error {
			p, err := c.ca.client("kube-apiserver-etcd-client")
			return add("etcd-client", p, err)
		},
		func() error {
			p, err := c.frontProxy.client(aggregatorUser)
			return add("front-proxy", p, err)
		},
		func() error {
			c.admin, err = c.ca.client("admin", "system:masters")
			return add("admin", c.admin, err)
		},
		func() error {
			key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
			if err != nil {
				return err
			}
			if files["service-account.key"], err = encodeKey(key); err != nil {
				return err
			}
			files["service-account.pub"], err = encodePublicKey(key.Public())
			return err
		},
	} {
		if err := issue(); err != nil {
			return nil, err
		}
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(folder, name), content, 0o600); err != nil {
			return nil, err
		}
	}
	roots := x509.NewCertPool()
	roots.AddCert(c.ca.cert)
	admin, err := tls.X509KeyPair(c.admin.cert, c.admin.key)
	if err != nil {
		return nil, err
	}
	c.tls = &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{admin}, MinVersion: tls.VersionTLS12}
	return &c, nil
}
