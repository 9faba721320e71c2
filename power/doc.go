// Package power predicts how many watts a server draws.
//
// Its main type is [Predictor], which turns a [State] (how busy the server is, how warm the air it
// breathes) into [Watts]. [Piecewise] is the model that everything else can be brought to: a curve of
// watts over utilization, such as SPECpower publishes at eleven loads. The package reads no sensor and
// knows no cluster; package scoring joins the two.
//
// Other forms are [Linear], [Fan], [Exponential], [Polynomial], [MLP] and [Trees]. Forms compose by wrapping:
// [Inlet] adds the response to the inlet temperature, [NewGPU] and [NewPressure] add a term, [Bounded] says
// what happens outside the domain, [Banded] gives intervals, [ByNode] asks each server's own model. [Servers]
// are published figures to begin with. Package power/model keeps all of them in files.
package power
