// Package chart holds the Helm chart of Leastwatt's programs, and the tests of what it brings: that its rules and
// its dashboard ask for metrics that the programs export.
package chart
