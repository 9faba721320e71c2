package main

import (
	"io"
	"net"
	"net/url"
	"sync"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// A line forwards TCP connections to an API server until it is cut.
type line struct {
	config *rest.Config
	to     string
	addr   string

	mu    sync.Mutex
	l     net.Listener // guarded by mu; nil while cut
	conns map[net.Conn]bool
}

func openLine(c *rest.Config) (*line, error) {
	u, err := url.Parse(c.Host)
	if err != nil {
		return nil, err
	}
	l := &line{config: c, to: u.Host, addr: "127.0.0.1:0", conns: make(map[net.Conn]bool)}
	return l, l.mend()
}

// client returns a client whose connections take the line.
func (l *line) client() (*kubernetes.Clientset, error) {
	c := rest.CopyConfig(l.config)
	c.Host = "https://" + l.addr
	return kubernetes.NewForConfig(c)
}

// mend opens the line, at the address that it had.
func (l *line) mend() error {
	ln, err := net.Listen("tcp", l.addr)
	if err != nil {
		return err
	}
	l.mu.Lock()
	l.l, l.addr = ln, ln.Addr().String()
	l.mu.Unlock()
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go l.forward(c)
		}
	}()
	return nil
}

func (l *line) forward(c net.Conn) {
	defer c.Close()
	up, err := net.Dial("tcp", l.to)
	if err != nil {
		return
	}
	defer up.Close()
	l.mu.Lock()
	if l.l == nil {
		l.mu.Unlock()
		return
	}
	l.conns[c], l.conns[up] = true, true
	l.mu.Unlock()
	go func() { _, _ = io.Copy(up, c); up.Close() }()
	_, _ = io.Copy(c, up)
	l.mu.Lock()
	delete(l.conns, c)
	delete(l.conns, up)
	l.mu.Unlock()
}

// cut ends all connections and refuses new ones.
func (l *line) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.l != nil {
		l.l.Close()
		l.l = nil
	}
	for c := range l.conns {
		c.Close()
	}
}
