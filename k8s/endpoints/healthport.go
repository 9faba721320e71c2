package endpoints

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// healthPorts answers at the healthCheckNodePorts of Services what kube-proxy does: 200 while an endpoint of this node
// is ready, so that a load balancer sends only where externalTrafficPolicy Local has somebody to answer.
type healthPorts struct {
	listen func(network, address string) (net.Listener, error)
	ready  func() error
	log    *slog.Logger

	servers map[uint16]*healthPort // open ones
	failed  map[types.NamespacedName]error
	wg      sync.WaitGroup
}

// A healthPort serves one port.
type healthPort struct {
	service types.NamespacedName
	local   atomic.Int64 // ready endpoints on this node
	ready   func() error
	server  http.Server
}

// healthPortOf returns a Service's port for health checks; 0 if it has none.
func healthPortOf(s *v1.Service) uint16 {
	if s.Spec.Type != v1.ServiceTypeLoadBalancer || s.Spec.ExternalTrafficPolicy != v1.ServiceExternalTrafficPolicyLocal {
		return 0
	}
	if p := s.Spec.HealthCheckNodePort; p > 0 && p <= 65535 {
		return uint16(p)
	}
	return 0
}

// keep opens and closes ports, so that those of these Services and no others are served, with their endpoints of now.
func (h *healthPorts) keep(ports []servicePort) {
	clear(h.failed)
	if h.listen == nil {
		return
	}
	type wanted struct {
		service types.NamespacedName
		local   map[v1.IPFamily]map[netip.Addr]bool
	}
	want := make(map[uint16]*wanted)
	for i := range ports {
		sp := &ports[i]
		port := healthPortOf(sp.service)
		if port == 0 {
			continue
		}
		w := want[port]
		if w == nil {
			w = &wanted{sp.key, make(map[v1.IPFamily]map[netip.Addr]bool)}
			want[port] = w
		}
		if w.service != sp.key {
			h.failed[sp.key] = fmt.Errorf("healthCheckNodePort %d belongs to Service %s", port, w.service)
			continue
		}
		if w.local[sp.family] == nil {
			w.local[sp.family] = make(map[netip.Addr]bool)
		}
		for _, ip := range sp.local {
			w.local[sp.family][ip] = true
		}
	}
	for port, s := range h.servers {
		if w := want[port]; w == nil || w.service != s.service {
			h.close(port)
		}
	}
	for port, w := range want {
		s := h.servers[port]
		if s == nil {
			var err error
			if s, err = h.open(port, w.service); err != nil {
				h.failed[w.service] = err
				continue
			}
		}
		n := 0
		for _, ips := range w.local { // a pod has an address of each family
			n = max(n, len(ips))
		}
		s.local.Store(int64(n))
	}
}

func (h *healthPorts) open(port uint16, service types.NamespacedName) (*healthPort, error) {
	l, err := h.listen("tcp", net.JoinHostPort("", strconv.Itoa(int(port))))
	if err != nil {
		return nil, fmt.Errorf("healthCheckNodePort %d is not served: %w", port, err)
	}
	s := &healthPort{service: service, ready: h.ready}
	s.server = http.Server{Handler: s, ReadTimeout: 5 * time.Second, WriteTimeout: 5 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 4096, ErrorLog: slog.NewLogLogger(h.log.Handler(), slog.LevelDebug)}
	h.servers[port] = s
	h.wg.Go(func() { _ = s.server.Serve(l) })
	return s, nil
}

func (h *healthPorts) close(port uint16) {
	_ = h.servers[port].server.Close()
	delete(h.servers, port)
}

// end closes all ports and waits for those who serve them.
func (h *healthPorts) end() {
	for port := range h.servers {
		h.close(port)
	}
	h.wg.Wait()
}

// ServeHTTP implements http.Handler; the path does not matter, and the answer is kube-proxy's.
func (s *healthPort) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	var answer struct {
		Service struct {
			Namespace string `json:"namespace"`
			Name      string `json:"name"`
		} `json:"service"`
		LocalEndpoints      int64 `json:"localEndpoints"`
		ServiceProxyHealthy bool  `json:"serviceProxyHealthy"`
	}
	answer.Service.Namespace, answer.Service.Name = s.service.Namespace, s.service.Name
	answer.LocalEndpoints, answer.ServiceProxyHealthy = s.local.Load(), s.ready() == nil
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("X-Load-Balancing-Endpoint-Weight", strconv.FormatInt(answer.LocalEndpoints, 10))
	if answer.LocalEndpoints == 0 || !answer.ServiceProxyHealthy {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_ = json.NewEncoder(w).Encode(answer) // a prober that went away needs no answer
}
