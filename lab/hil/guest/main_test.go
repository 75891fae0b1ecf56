package guest

import (
	"flag"
	"fmt"
	"os"
	"testing"

	"github.com/kipass/kipass/lab/hil/job"
)

// diskWord starts the process that plays the disk.
const diskWord = "serve-disk"

// TestMain has the parts to play that are processes of their own, all by the same program: the machine's first, its disk, a
// gate that will be killed, and the tests.
func TestMain(m *testing.M) {
	switch {
	case os.Getpid() == 1 && os.Getenv(job.Variable) != "":
		Boot(diskWord)
	case len(os.Args) > 1 && os.Args[1] == diskWord:
		if err := ServeDisk(os.Args[2:], os.Stdout); err != nil {
			fmt.Println(err) // for whom waits for it to be ready
			fmt.Fprintln(os.Stderr, "kipass guest: disk:", err)
			os.Exit(1)
		}
	case len(os.Args) > 1 && os.Args[1] == holdWord:
		if err := holdRelay(os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "kipass guest: relay:", err)
			os.Exit(1)
		}
	case os.Getenv(Mark) == "":
		flag.Parse()
		fmt.Println("these tests run on the kernel of make hil only; none was run here")
	default:
		os.Exit(m.Run())
	}
}
