// Package sensors reads what servers measure about themselves: inlet temperature, power, utilization.
//
// Its main type is [SensorSource], which reads the current measurements of one node; each protocol has a
// package of its own below this one. A [Poller] asks a source in the background and publishes a
// [Snapshot], which decisions read from memory. The package knows no power model; package scoring joins
// the two.
package sensors
