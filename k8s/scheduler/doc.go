// Package scheduler is a plugin of kube-scheduler that places each pod where it is predicted to add the
// fewest watts.
//
// Its main type is [Plugin]; [New] makes the factory that a scheduler program registers under [Name]. Once a
// cycle, PreScore predicts the cost of the pod on every candidate from the view of a [Site], which is kept in
// memory by background loops: no cycle waits for hardware or a model server. What is not known never wins;
// where nothing is known the plugin steps aside. The package needs the scheduling framework alone and
// links no part of kube-scheduler itself.
package scheduler
