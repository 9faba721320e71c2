//go:build !unix

package main

// lock does nothing where files cannot be locked in this way: start one process for a data folder.
func lock(string) (unlock func(), err error) { return func() {}, nil }
