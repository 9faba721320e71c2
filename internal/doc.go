// Package internal is the plumbing of the root module; nothing outside the repository imports it.
package internal
