package sim

import (
	"bufio"
	"os"
	"os/exec"
	"regexp"
	"testing"

	"github.com/kipass/kipass/internal/testkit"
)

// What a run that is killed leaves in memory, the next one clears away; what a running one works in, it spares.
func TestWhatAKilledRunLeavesIsClearedAway(t *testing.T) {
	if testing.Short() {
		t.Skip("runs the simulator in a process of its own")
	}
	testkit.MemoryDir(t) // skips where there is none
	mine, clean := folder(t)
	defer clean()
	killed := exec.Command(os.Args[0], "-test.run", "^TestSeed$", "-seed", "1", "-log")
	logged, err := killed.StderrPipe()
	testkit.Check(t, err)
	testkit.Check(t, killed.Start())
	var left string
	for lines := bufio.NewScanner(logged); left == "" && lines.Scan(); {
		left = regexp.MustCompile(shared + "/" + folderPrefix + "[0-9]+").FindString(lines.Text())
	}
	testkit.Check(t, killed.Process.Kill())
	_ = killed.Wait()
	if left == "" {
		t.Fatal("the run says nothing of its folder")
	}
	_, cleanNext := folder(t)
	defer cleanNext()
	if _, err := os.Stat(left); !os.IsNotExist(err) {
		t.Errorf("%s is left: %v", left, err)
	}
	if _, err := os.Stat(mine); err != nil {
		t.Errorf("the folder of a running run: %v", err)
	}
}
