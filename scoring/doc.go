// Package scoring predicts what placing work on each server would cost, and ranks servers by it.
//
// Its main type is [Scorer], which answers one [Cost] for each [Node] and a [Demand]. [EnvelopePower] is the
// default; [MarginalPower] is the plain difference of watts. This is where readings become states: a
// [Fleet] joins the snapshot of package sensors to the models of package power in the background, so that
// a decision reads memory only.
package scoring
