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
func (p *Proxier) OnServiceDelete(s *v1.Service) {
	p.change(func(w *world) bool {
		_, had := w.services[keyOf(s)]
		delete(w.services, keyOf(s))
		w.changed(keyOf(s))
		return had
	})
}

// OnServiceSynced implements kube-proxy's config.ServiceHandler.
func (p *Proxier) OnServiceSynced() {
	p.change(func(*world) bool { p.synced[0] = true; return true })
}

func sliceKey(s *discovery.EndpointSlice) types.NamespacedName {
	return types.NamespacedName{Namespace: s.Namespace, Name: s.Labels[discovery.LabelServiceName]}
}

// OnEndpointSliceAdd implements kube-proxy's config.EndpointSliceHandler.
func (p *Proxier) OnEndpointSliceAdd(s *discovery.EndpointSlice) { p.OnEndpointSliceUpdate(nil, s) }

// OnEndpointSliceUpdate implements kube-proxy's config.EndpointSliceHandler.
func (p *Proxier) OnEndpointSliceUpdate(old, s *discovery.EndpointSlice) {
	p.change(func(w *world) bool {
		if old != nil && sliceKey(old) != sliceKey(s) {
			drop(w, old)
		}
		k := sliceKey(s)
		if k.Name == "" {
			return old != nil
		}
		m := w.slices[k]
		if m == nil {
			m = make(map[string]*discovery.EndpointSlice)
			w.slices[k] = m
		}
		m[s.Name] = s
		w.changed(k)
		return w.services[k] != nil
	})
}

// OnEndpointSliceDelete implements kube-proxy's config.EndpointSliceHandler.
func (p *Proxier) OnEndpointSliceDelete(s *discovery.EndpointSlice) {
	p.change(func(w *world) bool {
		drop(w, s)
		return w.services[sliceKey(s)] != nil
	})
}

func drop(w *world, s *discovery.EndpointSlice) {
	k := sliceKey(s)
	w.changed(k)
	delete(w.slices[k], s.Name)
	if len(w.slices[k]) == 0 {
		delete(w.slices, k)
	}
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
