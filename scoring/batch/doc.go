// Package batch places many jobs at once.
//
// A [Strategy] looks at the pending jobs and at a [Cluster] and answers with a [Plan]: which job goes to
// which node, and which must wait and why. The strategies of other projects and papers are here beside Leastwatt's own, so
// that they can be compared on one workload; package simulate does that. [Bound] is the energy that no placement can
// beat. The solvers behind the strategies are in the packages assign, flow and minplus.
package batch
