// Package calibrate makes power models of readings.
//
// [Fit] takes samples from any iterator, fits every form that can be identified from them with a robust loss,
// chooses by cross-validation over blocks of time, and measures the intervals of its predictions on
// samples that were held out. [Online] follows one server as readings come, starting from what package
// prior knows. Neither knows a sensor; package scoring/learn and the examples bring the samples.
package calibrate
