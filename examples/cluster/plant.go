package main

import (
	"math"
	"math/rand/v2"
	"sync"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"

	"github.com/leastwatt/leastwatt/power"
)

// A plant is the physics of the room: it watches which pods run on which server, and knows what each server
// draws and breathes because of them. The emulated sensors measure it, with noise.
type plant struct {
	fleet []server
	index map[string]int // of each server's name

	mu    sync.Mutex
	pods  map[types.UID]running // guarded by mu
	milli []int64               // thousandths of a core in use on each server; guarded by mu
	count []int                 // pods that run on each server; guarded by mu
	noise *rand.Rand            // guarded by mu
	moved chan struct{}         // closed and replaced when something changed; guarded by mu
}

// running is a pod that runs: where, and how much CPU it uses.
type running struct {
	server int
	milli  int64
}

func newPlant(fleet []server, seed uint64) *plant {
	p := &plant{
		fleet: fleet, index: make(map[string]int, len(fleet)),
		pods: make(map[types.UID]running), milli: make([]int64, len(fleet)), count: make([]int, len(fleet)),
		noise: rand.New(rand.NewPCG(seed, 3)), moved: make(chan struct{}),
	}
	for i := range fleet {
		p.index[fleet[i].name] = i
	}
	return p
}

// handler tells the plant what happens to pods.
func (p *plant) handler() cache.ResourceEventHandler {
	return cache.ResourceEventHandlerFuncs{
		AddFunc:    func(obj any) { p.see(obj.(*v1.Pod)) },
		UpdateFunc: func(_, obj any) { p.see(obj.(*v1.Pod)) },
		DeleteFunc: func(obj any) {
			if gone, ok := obj.(cache.DeletedFinalStateUnknown); ok {
				obj = gone.Obj
			}
			if pod, ok := obj.(*v1.Pod); ok {
				p.remove(pod.UID)
			}
		},
	}
}

// see takes over a pod's state: it uses the CPU that it asks for while it is Running, and none else.
func (p *plant) see(pod *v1.Pod) {
	i, known := p.index[pod.Spec.NodeName]
	if pod.Status.Phase != v1.PodRunning || !known {
		p.remove(pod.UID)
		return
	}
	milli := int64(0)
	for i := range pod.Spec.Containers {
		milli += pod.Spec.Containers[i].Resources.Requests.Cpu().MilliValue()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, ok := p.pods[pod.UID]; ok {
		return
	}
	p.pods[pod.UID] = running{i, milli}
	p.milli[i] += milli
	p.count[i]++
	p.announce()
}

func (p *plant) remove(pod types.UID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	r, ok := p.pods[pod]
	if !ok {
		return
	}
	delete(p.pods, pod)
	p.milli[r.server] -= r.milli
	p.count[r.server]--
	p.announce()
}

// announce wakes whoever waits for a change. The caller holds mu.
func (p *plant) announce() {
	close(p.moved)
	p.moved = make(chan struct{})
}

// watch returns how many pods run, and a channel that is closed when that may have changed.
func (p *plant) watch() (pods int, moved <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.pods), p.moved
}

// account is the true state of one server.
type account struct {
	Pods  int
	Cores float64
	Watts power.Watts
}

// accounts returns the true state of every server, in the fleet's order.
func (p *plant) accounts() []account {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := make([]account, len(p.fleet))
	for i := range all {
		all[i] = account{
			Pods:  p.count[i],
			Cores: float64(p.milli[i]) / 1000,
			Watts: p.fleet[i].watts(float64(p.milli[i]) / 1000 / p.fleet[i].cores()),
		}
	}
	return all
}

// Noise of the sensors, as standard deviations.
const (
	wattsNoise       = 0.01  // of the value: the accuracy class of a server's power supply
	inletNoise       = 0.25  // °C
	utilizationNoise = 0.005 // of the value
)

// A measurement is what a server's sensors show.
type measurement struct {
	utilization float64
	inlet       power.Celsius
	watts       power.Watts
}

// measure reads the sensors of a server.
func (p *plant) measure(i int) measurement {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := &p.fleet[i]
	u := float64(p.milli[i]) / 1000 / s.cores()
	return measurement{
		utilization: min(u*math.Abs(1+utilizationNoise*p.noise.NormFloat64()), 1),
		inlet:       s.inletAt(u) + inletNoise*power.Celsius(p.noise.NormFloat64()),
		watts:       s.watts(u) * power.Watts(math.Abs(1+wattsNoise*p.noise.NormFloat64())),
	}
}
