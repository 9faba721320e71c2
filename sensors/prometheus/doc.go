// Package prometheus reads measurements of all nodes from a Prometheus server, or anything that answers its
// query API (Thanos, Mimir, VictoriaMetrics), by one PromQL expression per kind.
//
// Its main type is [Source], a [sensors.BatchSource]: one request per expression serves all nodes, and the
// poller uses it so. A single Read costs the same as reading all.
//
// # Time
//
// A sample of an instant query bears the time of the query, which would make every measurement look new. So
// each expression comes with another for the time, timestamp() of the series, evaluated in the same request
// at the same instant. A node of which only one of the two is known has no reading.
//
// # Nodes
//
// A series belongs to the node that one of its labels names; "instance" loses its port. An expression gives
// one series per node, and two are an error: aggregate by $label.
//
// Ready-made queries stand in this package: [NodeExporter], [IPMIExporter], [Kepler], [KeplerLegacy],
// [Scaphandre], [DCGM], [PDU].
package prometheus
