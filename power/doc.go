// Package power predicts how many watts a server draws.
//
// Its main type is [Predictor], which turns a [State] (how busy the server is, how warm the air it
// breathes) into [Watts]. [Piecewise] is the model that everything else can be brought to: a curve of
// watts over utilization, such as SPECpower publishes at eleven loads. The package reads no sensor and
// knows no cluster; package scoring joins the two.
package power
