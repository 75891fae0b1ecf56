package clock

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/kipass/kipass/internal/testkit"
	"github.com/kipass/kipass/protocol/visit"
)

func TestTheKernelCanBeAskedWithoutPrivilege(t *testing.T) {
	k, err := kernelTime()
	testkit.Check(t, err)
	if k.MaxError < 0 || k.MaxError > time.Hour {
		t.Fatalf("the kernel's error bound is %v", k.MaxError)
	}
	r := New(Options{Skew: DefaultSkew}).Read()
	if synced := r.State == visit.ClockSynced; synced != (k.MaxError < kernelError) {
		t.Fatalf("state %v with a kernel error bound of %v", r.State, k.MaxError)
	}
}

func TestTheTimerEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- New(Options{}).Run(ctx) }()
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
}

func TestARealTimeClockCountsIfItSetTheTimeAndAgrees(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	for _, row := range []struct {
		rule    string
		hctosys string
		epoch   string
		want    bool
	}{
		{"set the time and agrees", "1\n", strconv.FormatInt(now.Unix()-2, 10) + "\n", true},
		{"did not set the time", "0\n", strconv.FormatInt(now.Unix(), 10) + "\n", false},
		{"parted from the wall clock", "1\n", strconv.FormatInt(now.Unix()-60, 10) + "\n", false},
		{"cannot be read: its oscillator stopped", "1\n", "", false},
	} {
		t.Run(row.rule, func(t *testing.T) {
			dir := t.TempDir()
			rtc := filepath.Join(dir, "rtc0")
			testkit.Check(t, os.Mkdir(rtc, 0o700))
			for name, text := range map[string]string{"hctosys": row.hctosys, "since_epoch": row.epoch} {
				testkit.Check(t, os.WriteFile(filepath.Join(rtc, name), []byte(text), 0o600))
			}
			if got := rtcAgrees(dir, now); got != row.want {
				t.Fatalf("got %v, want %v", got, row.want)
			}
		})
	}
	if rtcAgrees(t.TempDir(), now) {
		t.Fatal("a machine without one has one")
	}
}
