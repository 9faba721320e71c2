module github.com/leastwatt/leastwatt/examples/internal/keplercontract

go 1.26.0

require github.com/sustainable-computing-io/kepler v0.9.0

require (
	github.com/go-logr/logr v1.4.2 // indirect
	github.com/go-ole/go-ole v1.2.6 // indirect
	github.com/shirou/gopsutil v3.21.11+incompatible // indirect
	github.com/tklauser/go-sysconf v0.3.14 // indirect
	github.com/tklauser/numcpus v0.8.0 // indirect
	github.com/yusufpapurcu/wmi v1.2.4 // indirect
	golang.org/x/sys v0.30.0 // indirect
	k8s.io/klog/v2 v2.130.1 // indirect
)
