package drivertest

import (
	"os"
	"os/exec"
)

// Emulator names the environment variable with the program that runs this test binary, for example "qemu-aarch64"; empty
// or unset where the machine runs it itself.
const Emulator = "KIPASS_TEST_EMULATOR"

// Again returns the command that runs this test binary once more, for a test that needs a process of its own.
func Again() *exec.Cmd {
	if emulator := os.Getenv(Emulator); emulator != "" {
		return exec.Command(emulator, os.Args[0])
	}
	return exec.Command(os.Args[0])
}
