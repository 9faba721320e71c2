package profiles

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"

	"github.com/leastwatt/leastwatt/k8s/api/v1alpha1"
	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/power/inference"
)

// remotes are the models on model servers. Nodes whose profiles describe one alike share it and its curves.
type remotes struct {
	log *slog.Logger

	mu  sync.Mutex
	all map[string]*remote // guarded by mu: by how they are described
	ctx context.Context    // guarded by mu: of run; nil while it does not run
	wg  sync.WaitGroup
}

// A remote is one model on a model server.
type remote struct {
	key, label string
	users      int // guarded by the remotes' mutex
	table      *inference.Table
	err        error // why there is no table
	cancel     context.CancelFunc
}

func newRemotes(log *slog.Logger) *remotes { return &remotes{log: log, all: make(map[string]*remote)} }

// acquire returns the model that a profile describes, for servers of so many cores. Release ends the use.
func (r *remotes) acquire(x *v1alpha1.RemoteModel, cores float64, secrets *store) *remote {
	if !needsCores(x) {
		cores = 0 // servers of any size share it
	}
	key, err := json.Marshal([]any{x, cores, secrets.version(x.SecretName)})
	r.mu.Lock()
	defer r.mu.Unlock()
	if old := r.all[string(key)]; old != nil {
		old.users++
		return old
	}
	n := &remote{key: string(key), label: x.URL, users: 1}
	if x.Name != "" {
		n.label += " " + x.Name
	}
	if n.err = err; err == nil {
		n.table, n.err = newTable(x, cores, secrets, r.log)
	}
	r.all[n.key] = n
	r.start(n)
	return n
}

// start runs a model's table where the remotes run. The caller holds the mutex.
func (r *remotes) start(n *remote) {
	if r.ctx == nil || n.table == nil || n.cancel != nil {
		return
	}
	ctx, cancel := context.WithCancel(r.ctx)
	n.cancel = cancel
	r.wg.Go(func() { _ = n.table.Run(ctx) }) // ends with ctx only, and logs what is wrong
}

func (r *remotes) release(n *remote) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if n.users--; n.users > 0 {
		return
	}
	delete(r.all, n.key)
	if n.cancel != nil {
		n.cancel()
	}
}

// run lets the models be asked until ctx ends.
func (r *remotes) run(ctx context.Context) {
	r.mu.Lock()
	r.ctx = ctx
	for _, n := range r.all {
		r.start(n)
	}
	r.mu.Unlock()
	<-ctx.Done()
	r.mu.Lock()
	r.ctx = nil
	for _, n := range r.all {
		n.cancel = nil
	}
	r.mu.Unlock()
	r.wg.Wait()
}

func newTable(x *v1alpha1.RemoteModel, cores float64, secrets *store, log *slog.Logger) (*inference.Table, error) {
	a, err := secrets.access(x.URL, x.SecretName, x.TLS, x.Plaintext)
	if err != nil {
		return nil, err
	}
	o := inference.Options{TLS: a.tls}
	if x.Timeout != nil {
		o.Timeout = x.Timeout.Duration
	}
	switch {
	case a.token != "":
		o.Auth = inference.Bearer(a.token)
	case a.user != "":
		o.Auth = inference.Basic(a.user, a.password)
	}
	var m inference.Model
	switch {
	case x.Discover:
		m = &discovered{bmc: a.url, version: x.Version, options: o}
	case x.Protocol == "tensorflowInputs" || x.Protocol == "tensorflowInstances":
		m, err = inference.NewTensorFlowServing(a.url, x.Name, inference.TensorFlowOptions{Options: o, Version: x.Version, Signature: "", Instances: x.Protocol == "tensorflowInstances"})
	default:
		m, err = inference.NewOpenInference(a.url, x.Name, inference.OpenInferenceOptions{Options: o, Version: x.Version})
	}
	if err != nil {
		return nil, err
	}
	f, err := features(x, cores)
	if err != nil {
		return nil, err
	}
	p, err := inference.New(m, f, inference.PredictorOptions{})
	if err != nil {
		return nil, err
	}
	return inference.NewTable(p, inference.TableOptions{Shared: true, Logger: log})
}

// features returns the columns of a row, for a server of so many cores.
func features(x *v1alpha1.RemoteModel, cores float64) ([]inference.Feature, error) {
	if needsCores(x) && !(cores > 0) {
		return nil, errors.New("the node's CPUs are not known, and the model wants CPU in cores")
	}
	if len(x.Features) == 0 {
		return inference.WAO(cores), nil
	}
	var all []inference.Feature
	for _, f := range x.Features {
		scale := 1.0
		if f.Scale != nil {
			scale = *f.Scale
		}
		if f.Cores {
			scale *= cores
		}
		all = append(all, inference.Feature{Input: power.Input(f.Input), Scale: scale, Offset: f.Offset, Step: f.Step})
	}
	return all, nil
}

// needsCores tells whether a model's rows depend on how many CPUs the server has.
func needsCores(x *v1alpha1.RemoteModel) bool {
	return len(x.Features) == 0 || slices.ContainsFunc(x.Features, func(f v1alpha1.Feature) bool { return f.Cores })
}

// discovered is a model whose server a BMC names.
type discovered struct {
	bmc, version string
	options      inference.Options // for the BMC

	mu    sync.Mutex
	model inference.Model // guarded by mu: nil before the BMC was asked
}

// Infer implements [inference.Model]. A model that fails is looked for again at the next call.
func (d *discovered) Infer(ctx context.Context, rows [][]float64) ([]float64, error) {
	m, err := d.find(ctx)
	if err != nil {
		return nil, err
	}
	out, err := m.Infer(ctx, rows)
	if err != nil {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.model == m {
			d.model = nil
		}
	}
	return out, err
}

func (d *discovered) find(ctx context.Context) (inference.Model, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.model != nil {
		return d.model, nil
	}
	a, err := inference.Discover(ctx, d.bmc, "", d.options)
	if err != nil {
		return nil, fmt.Errorf("find the model server by Redfish: %w", err)
	}
	// The model server is not the BMC: it gets none of its credentials, and is verified by the system's roots.
	m, err := a.OpenInference(inference.OpenInferenceOptions{Options: inference.Options{Timeout: d.options.Timeout}, Version: d.version})
	if err != nil {
		return nil, err
	}
	d.model = m
	return m, nil
}
