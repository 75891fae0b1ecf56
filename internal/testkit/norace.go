//go:build !race

package testkit

// Race tells whether the race detector is at work, under which everything takes several times as long.
const Race = false
