package chain

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/kipass/kipass/internal/testkit"
)

// build builds the real programs once for all tests, as they are shipped and as the lab can break them.
var (
	build    = sync.OnceValues(func() (string, error) { return buildInto("bin") })
	buildLab = sync.OnceValues(func() (string, error) { return buildInto("lab-bin", "-tags", "kipasslab") })
)

func buildInto(folder string, flags ...string) (string, error) {
	dir, err := filepath.Abs(filepath.Join("testdata", folder))
	if err != nil {
		return "", err
	}
	args := slices.Concat([]string{"build"}, flags, []string{
		"-o", dir + "/", "../../cmd/kipass-gate", "../../cmd/kipass-visits", "../../cmd/kipass-issuer", "../../cmd/kipass-inquiry",
		"../../cmd/kipass-scheme",
	})
	out, err := exec.Command("go", args...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("building the programs: %w\n%s", err, out)
	}
	return dir, nil
}

// programs returns the folder of the real programs.
func programs(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("starts all programs")
	}
	return testkit.Must(build())(t)
}

// labPrograms returns the folder of the programs whose clock and disk the lab can break.
func labPrograms(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("starts all programs")
	}
	return testkit.Must(buildLab())(t)
}

// The whole chain as real programs, with everything going wrong that the lab can make go wrong: nothing shown green is
// lost, nothing is stored twice, and the health authority finds exactly who was there.
func TestWholeChain(t *testing.T) {
	t.Parallel()
	bin := programs(t)
	for name, opts := range map[string]Options{
		"in good weather":                   {Scans: 25},
		"gate killed, visit server cut off": {Scans: 30, Kill: 2 * time.Second, Outage: 4 * time.Second},
		"a slow line, 9600 baud":            {Scans: 8, Baud: 9600},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			opts.Bin, opts.Dir, opts.Seed = bin, t.TempDir(), 1
			summary, err := Run(t.Context(), opts)
			if err != nil {
				t.Fatalf("%v\n%+v", err, summary)
			}
			if summary.Scans < opts.Scans || summary.Green == 0 {
				t.Errorf("%+v", summary)
			}
			if opts.Kill > 0 && summary.Restarts == 0 {
				t.Error("the gate was never killed")
			}
		})
	}
}

// The same with what the gate stands on at fault: its disk, its clock, its reader.
func TestWholeChainOnBrokenGround(t *testing.T) {
	t.Parallel()
	bin := labPrograms(t)
	for name, opts := range map[string]Options{
		"a disk that stalls":                             {Scans: 12, Disk: "stall"},
		"a failing disk, a clock nine hours ahead":       {Scans: 12, Disk: "eio", Clock: "gate+9h"},
		"a full disk, a reader with all habits":          {Scans: 12, Disk: "full", Reader: "mixed"},
		"a disk read-only at the start, gate killed":     {Scans: 12, Disk: "readonly", Kill: 4 * time.Second},
		"a server's clock set back before it is cut off": {Scans: 12, Clock: "visits-10m@1s", Outage: 4 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if (opts.Disk == "full" || opts.Disk == "readonly") && os.Getuid() != 0 {
				t.Skip("only root can mount a disk")
			}
			opts.Bin, opts.Dir, opts.Seed = bin, t.TempDir(), 1
			summary, err := Run(t.Context(), opts)
			if err != nil {
				t.Fatalf("%v\n%+v", err, summary)
			}
			if summary.Scans < opts.Scans {
				t.Errorf("%+v", summary)
			}
		})
	}
}

// The voice says its words of admission once for every admitted scan: the samples that left the process tell.
func TestVoiceOncePerAdmission(t *testing.T) {
	t.Parallel()
	bin := programs(t)
	summary, err := Run(t.Context(), Options{Bin: bin, Dir: t.TempDir(), Seed: 3, Scans: 6, Listen: true})
	if err != nil {
		t.Fatalf("%v\n%+v", err, summary)
	}
	admitted := summary.Outcomes["admitted"]
	if admitted < 3 || summary.Spoken != admitted || summary.Voiced != admitted+summary.Outcomes["admitted-again"] {
		t.Errorf("%d admitted, %d times spoken, %d green tones: %+v", admitted, summary.Spoken, summary.Voiced, summary)
	}
}
