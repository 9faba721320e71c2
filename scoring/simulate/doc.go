// Package simulate runs a workload on a cluster in virtual time and measures what a placement strategy would have
// drawn.
//
// Its main function is [Run]. The strategy is the same [batch.Strategy] that production uses, the physics of a node are any
// [power.Predictor], and beside the energy stands the lower bound that no placement of the same work could have
// beaten. Time is virtual, and two runs of one configuration agree bit for bit.
package simulate
