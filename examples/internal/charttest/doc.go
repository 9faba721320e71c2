// Package charttest holds the test that installs the Helm chart into a real control plane, and runs its programs as
// a kubelet would.
package charttest
