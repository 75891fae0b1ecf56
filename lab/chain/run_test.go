package chain

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/kipass/kipass/internal/testkit"
)

// build builds the real programs once for all tests.
var build = sync.OnceValues(func() (string, error) {
	dir, err := filepath.Abs(filepath.Join("testdata", "bin"))
	if err != nil {
		return "", err
	}
	out, err := exec.Command("go", "build", "-o", dir+"/", "../../cmd/kipass-gate", "../../cmd/kipass-visits", "../../cmd/kipass-issuer", "../../cmd/kipass-inquiry", "../../cmd/kipass-scheme").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("building the programs: %w\n%s", err, out)
	}
	return dir, nil
})

// programs returns the folder of the real programs.
func programs(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("starts all programs")
	}
	return testkit.Must(build())(t)
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

// The voice says its words of admission once for every admitted scan: the samples that left the process tell.
func TestVoiceOncePerAdmission(t *testing.T) {
	t.Parallel()
	bin := programs(t)
	summary, err := Run(t.Context(), Options{Bin: bin, Dir: t.TempDir(), Seed: 3, Scans: 6, Pace: 4 * time.Second})
	if err != nil {
		t.Fatalf("%v\n%+v", err, summary)
	}
	admitted := summary.Outcomes["admitted"]
	if admitted < 3 || summary.Spoken != admitted || summary.Voiced != admitted+summary.Outcomes["admitted-again"] {
		t.Errorf("%d admitted, %d times spoken, %d green tones: %+v", admitted, summary.Spoken, summary.Voiced, summary)
	}
}
