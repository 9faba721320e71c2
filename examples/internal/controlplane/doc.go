// Package controlplane runs a real Kubernetes control plane on loopback, for the example programs and
// for the tests and benchmarks that need one.
//
// A [Builder] builds etcd, kube-apiserver, kube-controller-manager, kwok and a scheduler from their
// modules, once, into the user's cache folder. [Run] starts them with TLS, client certificates and RBAC
// on free ports, hands a [Cluster] to a function, and removes everything when that function returns.
//
// It needs a Go toolchain and nothing else: certificates, kubeconfigs and health checks are made here.
// It runs on Linux and on other Unix systems; on Linux no process outlives the program, even a killed one.
package controlplane
