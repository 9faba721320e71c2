// Package learn joins what servers measure to models that learn.
//
// Its main type is [Learner]: for every node that reports utilization and power it keeps a
// [calibrate.Online], which starts from a prior and follows the readings, and offers the curve as it is now
// as a [power.Predictor]. With a folder it keeps one model file a node and goes on from there after a restart.
//
// It follows the curve over utilization and the response to the inlet temperature, and nothing else: what GPUs, static
// pressure or counters add would look to it like noise or drift. Where they matter, fit a model with package
// power/calibrate, which takes any input, and bind that.
package learn
