// Package metrics serves what Leastwatt measures and predicts as Kubernetes' custom and external metrics, so
// that a HorizontalPodAutoscaler can scale on it and kubectl can show it.
//
// Its main type is [Provider], which package provider of sigs.k8s.io/custom-metrics-apiserver serves: see
// examples/metrics-adapter. It reads memory only, beside labels of pods and namespaces.
//
// # Metrics
//
// Of nodes, as custom metrics and, with the node's labels and its name as label node, as external metrics:
//
//	every kind of package sensors   power_watts, inlet_temp_celsius, cpu_utilization_ratio, …
//	inlet_temp, delta_p             what wao-metrics-adapter calls two of them: degrees Celsius, pascals
//	predicted_power_watts           what the model says of the node's present state
//	marginal_power_watts            what one more core of work is predicted to add
//
// Of pods and namespaces, where Kepler 0.10 or later tells it:
//
//	cpu_power_watts                 packages and memory, as RAPL counts them
//
// A Kepler that a NodeProfile names as another sensor's fallback is read while it is needed for that, and tells of its pods
// no longer: list it as a sensor by itself to have all of them.
//
// # Absence
//
// A value is as old as its timestamp, which is when the hardware measured. What is older than MaxAge, or not
// measured, is not found; it is never 0 and never an older value. A list leaves it out. A sum does not: where
// a node that belongs to a sum is silent, the whole external metric or namespace is not found, because a
// smaller sum would scale down what is merely unseen.
package metrics
