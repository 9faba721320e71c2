module github.com/leastwatt/leastwatt/k8s

go 1.26.0

require (
	github.com/leastwatt/leastwatt v0.0.0
	k8s.io/api v0.37.2
	k8s.io/apimachinery v0.37.2
	k8s.io/client-go v0.37.2
	k8s.io/component-base v0.37.2
	k8s.io/kube-scheduler v0.37.2
)

replace github.com/leastwatt/leastwatt => ../
