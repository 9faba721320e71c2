package main

import (
	"os"
	"strconv"
	"syscall"
)

// lowestPriority lets everything else go first. Linux has a priority for each thread, which new ones inherit.
func lowestPriority() error {
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return err
	}
	for _, t := range threads {
		id, err := strconv.Atoi(t.Name())
		if err != nil {
			return err
		}
		if err := syscall.Setpriority(syscall.PRIO_PROCESS, id, 19); err != nil && err != syscall.ESRCH {
			return err
		}
	}
	return nil
}
