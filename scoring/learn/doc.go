// Package learn joins what servers measure to models that learn.
//
// Its main type is [Learner]: for every node that reports utilization and power it keeps a
// [calibrate.Online], which starts from a prior and follows the readings, and offers the curve as it is now
// as a [power.Predictor]. With a folder it keeps one model file a node and goes on from there after a restart.
package learn
