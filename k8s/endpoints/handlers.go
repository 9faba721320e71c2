package endpoints

import (
	"maps"

	v1 "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/types"
)

func keyOf(s *v1.Service) types.NamespacedName {
	return types.NamespacedName{Namespace: s.Namespace, Name: s.Name}
}

// OnServiceAdd implements kube-proxy's config.ServiceHandler.
func (p *Proxier) OnServiceAdd(s *v1.Service) { p.OnServiceUpdate(nil, s) }

// OnServiceUpdate implements kube-proxy's config.ServiceHandler.
func (p *Proxier) OnServiceUpdate(_, s *v1.Service) {
	p.change(func(w *world) bool {
		k := keyOf(s)
		w.changed(k)
		if !p.ours(s) {
			_, had := w.services[k]
			delete(w.services, k)
			return had
		}
		w.services[k] = s
		return true
	})
}

// OnServiceDelete implements kube-proxy's config.ServiceHandler.
func (p *Proxier) OnServiceDelete(s *v1.Service) { p.dropService(keyOf(s)) }

func (p *Proxier) dropService(k types.NamespacedName) {
	p.change(func(w *world) bool {
		_, had := w.services[k]
		delete(w.services, k)
		w.changed(k)
		return had
	})
}

// OnServiceSynced implements kube-proxy's config.ServiceHandler.
func (p *Proxier) OnServiceSynced() {
	p.change(func(*world) bool { p.synced[0] = true; return true })
}

// OnEndpointSliceAdd implements kube-proxy's config.EndpointSliceHandler.
func (p *Proxier) OnEndpointSliceAdd(s *discovery.EndpointSlice) { p.OnEndpointSliceUpdate(nil, s) }

// OnEndpointSliceUpdate implements kube-proxy's config.EndpointSliceHandler.
func (p *Proxier) OnEndpointSliceUpdate(_, s *discovery.EndpointSlice) {
	name := types.NamespacedName{Namespace: s.Namespace, Name: s.Name}
	service, kept := s.Labels[discovery.LabelServiceName], compact(s)
	p.change(func(w *world) bool {
		ours := false
		if w.owners[name] != service {
			ours = w.drop(name)
		}
		if service == "" {
			return ours
		}
		k := types.NamespacedName{Namespace: s.Namespace, Name: service}
		m := w.slices[k]
		if m == nil {
			m = make(map[string]*endpointSlice)
			w.slices[k] = m
		}
		m[s.Name] = kept
		w.owners[name] = service
		w.changed(k)
		return ours || w.services[k] != nil
	})
}

// OnEndpointSliceDelete implements kube-proxy's config.EndpointSliceHandler.
func (p *Proxier) OnEndpointSliceDelete(s *discovery.EndpointSlice) {
	p.dropSlice(types.NamespacedName{Namespace: s.Namespace, Name: s.Name})
}

func (p *Proxier) dropSlice(name types.NamespacedName) {
	p.change(func(w *world) bool { return w.drop(name) })
}

// drop forgets a slice and tells whether it was of a Service of ours.
func (w *world) drop(name types.NamespacedName) bool {
	service, ok := w.owners[name]
	if !ok {
		return false
	}
	delete(w.owners, name)
	k := types.NamespacedName{Namespace: name.Namespace, Name: service}
	w.changed(k)
	delete(w.slices[k], name.Name)
	if len(w.slices[k]) == 0 {
		delete(w.slices, k)
	}
	return w.services[k] != nil
}

// OnEndpointSlicesSynced implements kube-proxy's config.EndpointSliceHandler.
func (p *Proxier) OnEndpointSlicesSynced() {
	p.change(func(*world) bool { p.synced[1] = true; return true })
}

// OnTopologyChange implements kube-proxy's config.NodeTopologyHandler.
func (p *Proxier) OnTopologyChange(labels map[string]string) {
	p.change(func(w *world) bool {
		if maps.Equal(w.topology, labels) {
			return false
		}
		w.topology = maps.Clone(labels)
		w.stale = nil
		return true
	})
}

// OnServiceCIDRsChanged implements kube-proxy's config.ServiceCIDRHandler. Our rules match each address by
// itself, so the ranges do not matter.
func (p *Proxier) OnServiceCIDRsChanged([]string) {}
