package grpcbalancer_test

import (
	"context"
	"errors"
	"math"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"

	"github.com/leastwatt/leastwatt/balancing"
	"github.com/leastwatt/leastwatt/k8s/grpcbalancer"
)

// site is three gRPC servers and one client whose channel has a policy of our own.
type site struct {
	t       *testing.T
	servers []*grpc.Server
	addrs   []string
	conn    *grpc.ClientConn
	names   *manual.Resolver
}

var policies atomic.Int64

func open(t *testing.T, w *grpcbalancer.Weights, o grpcbalancer.Options) *site {
	t.Helper()
	s := &site{t: t}
	var wg sync.WaitGroup
	for range 3 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		g := grpc.NewServer()
		healthpb.RegisterHealthServer(g, health.NewServer())
		wg.Go(func() { _ = g.Serve(l) })
		s.servers, s.addrs = append(s.servers, g), append(s.addrs, l.Addr().String())
	}
	t.Cleanup(func() {
		for _, g := range s.servers {
			g.Stop()
		}
		wg.Wait()
	})
	policy := "leastwatt_test_" + string('a'+rune(policies.Add(1)))
	balancer.Register(grpcbalancer.NewBuilder(policy, w, o)) // the one test that runs at a time registers
	s.names = manual.NewBuilderWithScheme("test")
	s.names.InitialState(resolver.State{Addresses: s.addresses(0, 1, 2)})
	conn, err := grpc.NewClient("test:///web", grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithResolvers(s.names),
		grpc.WithDefaultServiceConfig(`{"loadBalancingConfig":[{"`+policy+`":{}}]}`))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	s.conn = conn
	return s
}

func (s *site) addresses(which ...int) []resolver.Address {
	var out []resolver.Address
	for _, i := range which {
		out = append(out, resolver.Address{Addr: s.addrs[i]})
	}
	return out
}

// call calls n times and counts which server answers; it fails the test if one does not.
func (s *site) call(n int, opts ...func(context.Context) context.Context) [3]int {
	s.t.Helper()
	var out [3]int
	client := healthpb.NewHealthClient(s.conn)
	for range n {
		ctx, cancel := context.WithTimeout(s.t.Context(), 10*time.Second)
		for _, o := range opts {
			ctx = o(ctx)
		}
		var from peer.Peer
		_, err := client.Check(ctx, &healthpb.HealthCheckRequest{}, grpc.Peer(&from), grpc.WaitForReady(true))
		cancel()
		if err != nil {
			s.t.Fatalf("a call failed: %v", err)
		}
		for i, a := range s.addrs {
			if from.Addr.String() == a {
				out[i]++
			}
		}
	}
	return out
}

// settle calls until all servers that should answer have.
func (s *site) settle(want [3]bool) {
	s.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; {
		got, all := s.call(200), true
		for i := range want {
			all = all && want[i] == (got[i] > 0)
		}
		if all {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("of 200 calls %v, want answers of %v", got, want)
		}
	}
}

func (s *site) store(w *grpcbalancer.Weights, v ...float64) {
	s.t.Helper()
	m := map[string]float64{}
	for i := range v {
		m[s.addrs[i]] = v[i]
	}
	if err := w.Store(m); err != nil {
		s.t.Fatal(err)
	}
}

func TestCallsFollowTheShares(t *testing.T) {
	var w grpcbalancer.Weights
	s := open(t, &w, grpcbalancer.Options{})
	s.settle([3]bool{true, true, true}) // without weights
	want := [3]float64{0.7, 0.2, 0.1}
	s.store(&w, want[:]...)
	const n = 3000
	got, chi := s.call(n), 0.0
	for i, p := range want {
		chi += math.Pow(float64(got[i])-n*p, 2) / (n * p)
	}
	t.Logf("shares %v, of %d calls %v, chi-square %.2f", want, n, got, chi)
	if chi > 18.421 { // the 99.99 % quantile of chi-square with two degrees of freedom
		t.Errorf("the split does not match the shares")
	}
	// New weights count from the next call on, on the same connections.
	s.store(&w, 0, 1, 0)
	if got := s.call(100); got[1] != 100 {
		t.Errorf("all to the second: %v", got)
	}
	// A server that the weights do not name gets no more than the least that they name.
	if err := w.Store(map[string]float64{s.addrs[0]: 0.9, s.addrs[1]: 0.1}); err != nil {
		t.Fatal(err)
	}
	if got := s.call(2000); got[2] == 0 || got[2] > 300 || got[0] < 1400 {
		t.Errorf("one unknown: %v", got)
	}
}

func TestServersComeAndGo(t *testing.T) {
	var w grpcbalancer.Weights
	s := open(t, &w, grpcbalancer.Options{})
	s.store(&w, 0.8, 0.1, 0.1)
	s.settle([3]bool{true, true, true})
	s.servers[0].GracefulStop() // no call fails: its connection says goodbye, and the next ones go elsewhere
	s.settle([3]bool{false, true, true})
	if got := s.call(400); got[1] < 140 || got[2] < 140 {
		t.Errorf("two equal ones are left: %v", got)
	}
	s.names.UpdateState(resolver.State{Addresses: s.addresses(2)})
	s.settle([3]bool{false, false, true})
}

func TestAffinityAndTracking(t *testing.T) {
	type user struct{}
	var w grpcbalancer.Weights
	s := open(t, &w, grpcbalancer.Options{
		Picker: func(a []string, v []float64) (balancing.Picker, error) { return balancing.NewMaglev(a, v) },
		Key:    func(i balancer.PickInfo) uint64 { k, _ := i.Ctx.Value(user{}).(uint64); return k }})
	s.settleByKey(user{})
	for k := range uint64(20) {
		got := s.call(10, func(ctx context.Context) context.Context { return context.WithValue(ctx, user{}, k) })
		if max(got[0], got[1], got[2]) != 10 {
			t.Errorf("user %d meets %v", k, got)
		}
	}

	var flights balancing.Flights
	var all atomic.Pointer[[]*atomic.Int64]
	s = open(t, &w, grpcbalancer.Options{Picker: func(a []string, v []float64) (balancing.Picker, error) {
		f := flights.Of(a)
		all.Store(&f)
		return balancing.NewTwoChoices(v, f)
	}})
	s.settle([3]bool{true, true, true})
	for i, f := range *all.Load() {
		if f.Load() != 0 {
			t.Errorf("endpoint %d: %d calls in flight after the last ended", i, f.Load())
		}
	}
}

// settleByKey calls with many keys until all servers have answered.
func (s *site) settleByKey(key any) {
	s.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; {
		var got [3]int
		for k := range uint64(100) {
			one := s.call(1, func(ctx context.Context) context.Context {
				return metadata.NewOutgoingContext(context.WithValue(ctx, key, k), nil)
			})
			for i := range got {
				got[i] += one[i]
			}
		}
		if got[0] > 0 && got[1] > 0 && got[2] > 0 {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("100 keys meet %v", got)
		}
	}
}

func TestBadWeightsAreRefused(t *testing.T) {
	var w grpcbalancer.Weights
	for _, v := range []float64{-1, math.NaN(), math.Inf(1)} {
		if err := w.Store(map[string]float64{"a": v}); err == nil {
			t.Errorf("weight %v: no error", v)
		}
	}
}

// A picker that cannot be made fails calls with its reason.
func TestPickerThatCannotBeMade(t *testing.T) {
	var w grpcbalancer.Weights
	s := open(t, &w, grpcbalancer.Options{Picker: func([]string, []float64) (balancing.Picker, error) { return nil, errors.New("no tables today") }})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if _, err := healthpb.NewHealthClient(s.conn).Check(ctx, &healthpb.HealthCheckRequest{}); err == nil {
		t.Error("no error")
	}
}
