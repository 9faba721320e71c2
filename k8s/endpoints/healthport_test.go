package endpoints_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	"k8s.io/client-go/tools/events"

	"github.com/leastwatt/leastwatt/k8s/endpoints"
)

func healthPort(s *v1.Service) {
	s.Spec.Type, s.Spec.ExternalTrafficPolicy, s.Spec.HealthCheckNodePort = v1.ServiceTypeLoadBalancer, v1.ServiceExternalTrafficPolicyLocal, 31000
}

// probe asks a health port as a load balancer does: the status, what the answer says, "" where nobody answers.
func probe(addr string) string {
	resp, err := http.Get("http://" + addr + "/healthz")
	if err != nil {
		return ""
	}
	defer resp.Body.Close()
	var got struct {
		Service             struct{ Namespace, Name string }
		LocalEndpoints      int
		ServiceProxyHealthy bool
	}
	if err := json.NewDecoder(resp.Body).Decode(&got); err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%d %s/%s local %d weight %s healthy %v", resp.StatusCode, got.Service.Namespace, got.Service.Name, got.LocalEndpoints,
		resp.Header.Get("X-Load-Balancing-Endpoint-Weight"), got.ServiceProxyHealthy)
}

func TestHealthPort(t *testing.T) {
	defer http.DefaultClient.CloseIdleConnections()
	var at atomic.Pointer[string]
	var r recorder
	p, err := endpoints.New(map[v1.IPFamily]endpoints.Applier{v1.IPv4Protocol: &r}, endpoints.Options{Node: "us", Pause: time.Millisecond,
		Listen: func(network, address string) (net.Listener, error) {
			if network != "tcp" || address != ":31000" {
				return nil, fmt.Errorf("asked for %s %s", network, address)
			}
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err == nil {
				at.Store(new(l.Addr().String()))
			}
			return l, err
		}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { _ = p.Run(ctx) })
	defer wg.Wait()
	defer cancel()
	await := func(want string) {
		t.Helper()
		got := ""
		for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
			if a := at.Load(); a != nil {
				if got = probe(*a); got == want {
					return
				}
			}
		}
		t.Fatalf("the port says %q, want %q", got, want)
	}
	p.OnServiceSynced()
	p.OnEndpointSlicesSynced()
	admin := func(s *v1.Service) { // one pod behind two ports counts once
		s.Spec.Ports = append(s.Spec.Ports, v1.ServicePort{Name: "admin", Port: 81, Protocol: v1.ProtocolTCP})
	}
	both := func(eps ...discovery.Endpoint) *discovery.EndpointSlice {
		s := slice("web-1", "web", eps...)
		s.Ports = append(s.Ports, discovery.EndpointPort{Name: new("admin"), Port: new(int32(9090)), Protocol: new(v1.ProtocolTCP)})
		return s
	}
	ending := func(e *discovery.Endpoint) {
		e.Conditions = discovery.EndpointConditions{Ready: new(false), Serving: new(true), Terminating: new(true)}
	}
	p.OnServiceAdd(service("web", healthPort, admin))
	await("503 shop/web local 0 weight 0 healthy true")
	p.OnEndpointSliceAdd(both(endpoint("10.0.0.1", "us"), endpoint("10.0.0.2", "us"), endpoint("10.0.0.3", "b")))
	await("200 shop/web local 2 weight 2 healthy true")
	p.OnEndpointSliceUpdate(nil, both(endpoint("10.0.0.1", "us", ending), endpoint("10.0.0.3", "b")))
	await("503 shop/web local 0 weight 0 healthy true")
	p.OnServiceDelete(service("web"))
	await("")
	p.OnServiceAdd(service("web", healthPort))
	p.OnEndpointSliceUpdate(nil, both(endpoint("10.0.0.1", "us")))
	await("200 shop/web local 1 weight 1 healthy true")
	cancel()
	wg.Wait()
	if got := probe(*at.Load()); got != "" {
		t.Errorf("after the end: %s", got)
	}
}

// pipes is a listener of connections that a test makes.
type pipes struct{ conns chan net.Conn }

func (l pipes) Accept() (net.Conn, error) {
	c, ok := <-l.conns
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}

func (l pipes) Close() error { close(l.conns); return nil }

func (l pipes) Addr() net.Addr { return &net.TCPAddr{} }

// Whoever does not send what it said it would, or does not read the answer, is let go.
func TestHealthPortLetsSlowProbersGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r recorder
		l := pipes{make(chan net.Conn)}
		p := start(t, &r, endpoints.Options{Listen: func(string, string) (net.Listener, error) { return l, nil }})
		p.OnServiceAdd(service("web", healthPort))
		settle()
		for name, request := range map[string]string{"no head": "GET / HTTP/1.1\r\n", "no body": "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n"} {
			client, server := net.Pipe()
			l.conns <- server
			if _, err := client.Write([]byte(request)); err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			if _, err := io.Copy(io.Discard, client); err != nil || time.Since(began) > 15*time.Second {
				t.Errorf("%s: let go after %v, %v", name, time.Since(began), err)
			}
			_ = client.Close()
		}
		client, server := net.Pipe()
		l.conns <- server
		if _, err := client.Write([]byte("GET / HTTP/1.1\r\nHost: h\r\n\r\n")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(15 * time.Second) // of the bubble's clock
		if _, err := client.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("who does not read the answer is waited for: %v", err)
		}
		_ = client.Close()
	})
}

// A port that cannot be opened gets an Event and is tried again.
func TestHealthPortIsTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r recorder
		var asked atomic.Int64
		rec := events.NewFakeRecorder(10)
		p := start(t, &r, endpoints.Options{Events: rec, Refresh: time.Second, Listen: func(string, string) (net.Listener, error) {
			asked.Add(1)
			return nil, errors.New("address already in use")
		}})
		p.OnServiceAdd(service("web", healthPort))
		settle()
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if len(rec.Events) != 1 || asked.Load() < 5 {
			t.Fatalf("%d events, tried %d times: want one and several", len(rec.Events), asked.Load())
		}
		if e := <-rec.Events; !strings.Contains(e, "healthCheckNodePort 31000") || !strings.Contains(e, "in use") {
			t.Errorf("event %q", e)
		}
	})
}
