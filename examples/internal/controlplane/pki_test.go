package controlplane

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
)

// Every certificate does what it is for: a server is trusted on loopback by those who know the
// authority, and a client's certificate carries its user and groups.
func TestCredentials(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "pki")
	c, err := newCredentials(folder)
	if err != nil {
		t.Fatal(err)
	}
	server, err := tls.LoadX509KeyPair(filepath.Join(folder, "kube-apiserver.crt"), filepath.Join(folder, "kube-apiserver.key"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(c.ca.cert)
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{server}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: roots})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	seen := make(chan *x509.Certificate, 1)
	go func() {
		defer close(seen)
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		if _, err := io.ReadAll(conn); err == nil {
			seen <- conn.(*tls.Conn).ConnectionState().PeerCertificates[0]
		}
	}()
	conn, err := tls.Dial("tcp", l.Addr().String(), c.tls)
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	if cert := <-seen; cert == nil || cert.Subject.CommonName != "admin" || cert.Subject.Organization[0] != "system:masters" {
		t.Errorf("the server saw %v, want admin of system:masters", cert)
	}
	for _, name := range []string{"10.96.0.1", "kubernetes.default.svc", "localhost"} {
		if err := server.Leaf.VerifyHostname(name); err != nil {
			t.Error(err)
		}
	}
	if err := server.Leaf.VerifyHostname(net.IPv4(10, 0, 0, 1).String()); err == nil {
		t.Error("the certificate is good for a foreign address")
	}
	// What signs for the cluster must not sign for extension API servers, or the other way round.
	fp, err := tls.LoadX509KeyPair(filepath.Join(folder, "front-proxy.crt"), filepath.Join(folder, "front-proxy.key"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fp.Leaf.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}); err == nil {
		t.Error("the cluster's authority vouches for the front proxy")
	}
}

// No key can be read by others.
func TestCredentialsArePrivate(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "pki")
	c, err := newCredentials(folder)
	if err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(folder, "admin.kubeconfig")
	if err := c.writeKubeconfig(config, "https://127.0.0.1:1", "admin"); err != nil {
		t.Fatal(err)
	}
	files, err := os.ReadDir(folder)
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, f := range files {
		if info, err := f.Info(); err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v (%v), want it closed to group and others", f.Name(), info.Mode(), err)
		}
	}
}
