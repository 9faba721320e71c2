// Package gatewaycrds pins the version of the Gateway API whose CustomResourceDefinitions the tests install. It is a module
// of its own, outside the workspace, so that a test's need raises no version that the programs share.
package gatewaycrds

import _ "sigs.k8s.io/gateway-api/apis/v1" // its module has config/crd
