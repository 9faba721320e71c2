package charttest

// spare is what the chart grants although the programs do not do it in TestChart and TestChartProxy, and why.
var spare = map[string]string{
	"controller: get nodes.metrics.k8s.io":                                   "a source that others fall back to is asked node by node",
	"scheduler: get nodes.metrics.k8s.io":                                    "as the controller",
	"metrics-adapter: get nodes.metrics.k8s.io":                              "as the controller",
	"controller: update nodeprofiletemplates/finalizers.leastwatt.github.io": "the admission plugin OwnerReferencesPermissionEnforcement asks for it, which is off by default",
	"jobs: get jobs.batch":                                                   "a job that was being stopped when the service died is looked up: package examples/jobs",
	"jobs: patch jobs.batch":                                                 "a job is stopped where another time is cleaner, and none is here: package examples/jobs",
	"shift: get pods":                                                        "what somebody else changed meanwhile is read again: package k8s/shift",
	"shift: get jobs.batch":                                                  "as pods",
	"shift: get cronjobs.batch":                                              "as pods",
	"shift: get workloads.kueue.x-k8s.io":                                    "as pods",
	"shift: patch events.events.k8s.io":                                      "an event that comes again is counted in the one that there is",
}

// spareBesideProxy is what more the chart grants that the programs do not do in TestChartProxy.
var spareBesideProxy = map[string]string{
	"endpoint-selector: create events.events.k8s.io": "what of a Service is not done is told in one, and all is done here: package k8s/endpoints",
	"endpoint-selector: patch events.events.k8s.io":  "an event that comes again is counted in the one that there is",
	"gateway: create events.events.k8s.io":           "as the endpoint selector, of HTTPRoutes",
	"gateway: patch events.events.k8s.io":            "as the endpoint selector",
	"shift: delete configmaps":                       "what is told is made anew after a quarter of an hour: examples/shift",
	"shift: update configmaps":                       "what starts later on a day is added to what started first: package k8s/shift",
	"shift: patch jobs.batch":                        "none is made here, but in TestChart",
	"shift: patch cronjobs.batch":                    "as Jobs",
}
