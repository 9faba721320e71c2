// Package controllers makes NodeProfiles of NodeProfileTemplates, and of what other systems left in the cluster, and
// tells in the status of every resource how its sensors and models do.
//
// [Add] adds all of it to a controller-runtime manager. Each node's profile is decided by itself: a change of one node
// costs one look at the templates, and what is as it should be costs no request.
package controllers
