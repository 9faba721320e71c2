// Package endpoints turns Services and EndpointSlices of a Kubernetes cluster into rules that divide connections
// where they cost the fewest watts.
//
// Its main type is [Proxier]. It follows the cluster through the handlers of kube-proxy's proxy.Provider, so that
// a forked kube-proxy takes it in place of its own, or by itself through [Proxier.Watch]. Weights are refreshed on
// a timer and on every change, in memory: nothing waits for a sensor, and nothing is weighed under a lock. It needs
// the rules of Leastwatt's balancing/nftables, or anything else that is an [Applier].
package endpoints
