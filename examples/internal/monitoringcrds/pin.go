// Package monitoringcrds pins the version of the Prometheus operator whose CustomResourceDefinitions the tests install. It is a
// module of its own, outside the workspace, so that a test's need raises no version that the programs share.
package monitoringcrds

import _ "github.com/prometheus-operator/prometheus-operator/pkg/versionutil" // its module has example/prometheus-operator-crd
