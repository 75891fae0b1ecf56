//go:build !kipasslab

package main

import "time"

// clock is the wall clock and the running time that the server goes by; nil: the system's.
func clock() (now func() time.Time, elapsed func() time.Duration) { return nil, nil }
