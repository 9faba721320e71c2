// Package profiles makes a running site of a cluster's NodeProfiles, PowerModels and Secrets, in the place of a
// configuration file or beside one.
//
// Its main type is [Provider], which is a site for package k8s/scheduler. It reads Secrets by name alone, in one
// namespace, and what a node's profile says leads to that node's readings only. Whatever is wrong with one profile,
// Secret or model is an error of the nodes concerned, and of no other.
package profiles
