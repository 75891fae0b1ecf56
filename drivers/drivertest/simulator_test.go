package drivertest

import (
	"bufio"
	"os"
	"path/filepath"
	"testing"

	"github.com/kipass/kipass/internal/testkit"
)

// What a reader had not sent when it was unplugged is not sent when it is plugged in again: without power it has forgotten it.
func TestAReaderWithoutPowerForgetsWhatItHadToSay(t *testing.T) {
	line := testkit.Must(OpenPty(filepath.Join(t.TempDir(), "reader")))(t)
	s := testkit.Must(Simulate(line, "generic", Faults{Baud: 300}))(t)
	t.Cleanup(func() { testkit.Check(t, s.Close()) })
	driver := testkit.Must(os.OpenFile(line.Path(), os.O_RDWR, 0))(t)
	s.Scan("the code that was shown before")
	first := make([]byte, 1)
	testkit.Must(driver.Read(first))(t) // it is being sent
	testkit.Check(t, driver.Close())
	testkit.Check(t, line.Unplug(Closed))
	testkit.Check(t, line.Replug())
	driver = testkit.Must(os.OpenFile(line.Path(), os.O_RDWR, 0))(t)
	defer driver.Close()
	s.SetFaults(Faults{})
	s.Scan("the next")
	if got := testkit.Must(bufio.NewReader(driver).ReadString('\n'))(t); got != "the next\r\n" {
		t.Errorf("after the replug it sends %q", got)
	}
}
