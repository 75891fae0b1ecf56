package journal

import (
	"fmt"
	"os"
	"testing"
)

// The test binary also plays the gate that is killed, and the gate whose disk is full: it is run again with this set.
const roleVariable = "KIPASS_JOURNAL_ROLE"

func TestMain(m *testing.M) {
	roles := map[string]func() error{"append": roleAppend, "fill": roleFill}
	role, ok := roles[os.Getenv(roleVariable)]
	if !ok {
		os.Exit(m.Run())
	}
	if err := role(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
