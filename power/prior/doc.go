// Package prior knows what the power curve of a server looks like before anyone has measured it.
//
// Its main type is [Prior]: the mean and covariance of published curves, in logarithms of watts, together
// with what is known of a server from its data sheet. It answers a [Belief], a Gaussian over the curve's
// eleven points, which a few readings narrow down. [Default] is fitted to 413 SPECpower_ssj2008 curves of
// hardware from 2004 to 2022 by the command power/prior/fit; the figures are statistics of many servers,
// not a copy of any.
package prior
