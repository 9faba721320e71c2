// Package balancing divides requests between endpoints where they cost the fewest watts, grams or money.
//
// Its main type is [Weigher], which turns [Service]s with their [Endpoint]s into [Share]s. [Optimal] divides
// by equal marginal power, exactly for the piecewise curves of package power; [Inverse] and [Uniform] stand
// beside it for comparison. [Damped] keeps one noisy reading from moving much. A [Table] makes shares into
// picks for a proxy or a client: weighted random, smooth round robin, Maglev, two choices. Package
// balancing/nftables makes them into kernel rules.
//
// The package decides in memory: what the servers are comes from a [scoring.View], and nothing here waits
// for a sensor or a model server.
package balancing
