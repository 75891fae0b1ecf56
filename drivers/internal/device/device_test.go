package device

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kipass/kipass/drivers"
	"github.com/kipass/kipass/internal/testkit"
)

func TestFaultTellsWhetherItChanged(t *testing.T) {
	var f Fault
	for i, step := range []struct {
		err     error
		changed bool
	}{
		{nil, false},
		{errors.New("no card"), true},
		{errors.New("no card"), false},
		{errors.New("no sound"), true},
		{nil, true},
		{nil, false},
	} {
		if changed := f.Set(step.err); changed != step.changed || f.Get() != step.err {
			t.Errorf("step %d: changed %v, fault %v; want %v, %v", i, changed, f.Get(), step.changed, step.err)
		}
	}
}

func TestHints(t *testing.T) {
	hints := Hints{
		NewHint("is it plugged in?", fs.ErrNotExist),
		NewHint("add the user to the group", fs.ErrPermission),
		Unplugged,
		NewHint("never: the first that fits counts", unix.ENODEV),
	}
	for rule, c := range map[string]struct {
		err  error
		want string
	}{
		"a number of the system":           {unix.ENODEV, "opening x: the device does not answer: is the reader still plugged in? (no such device)"},
		"a number within other errors":     {&os.PathError{Op: "open", Path: "x", Err: unix.EACCES}, "add the user to the group"},
		"a number of which the text stays": {errors.New("gpio: set: input/output error"), "does not answer"},
		"what no hint is for":              {unix.ENOMEM, "opening x: cannot allocate memory"},
	} {
		got := hints.Explain("opening x", c.err)
		if !strings.Contains(got.Error(), c.want) || !errors.Is(got, c.err) {
			t.Errorf("%s: %v, want %q in it and the error wrapped", rule, got, c.want)
		}
	}
	if words := hints.Words(unix.ENOMEM); words != "" {
		t.Errorf("an error without a hint gave %q", words)
	}
}

func TestBackoffDoublesAndBeginsAnew(t *testing.T) {
	b := Backoff{First: 50 * time.Millisecond, Last: 300 * time.Millisecond}
	take := func(n int) (pauses []time.Duration) {
		for range n {
			pauses = append(pauses, b.Next()/time.Millisecond)
		}
		return pauses
	}
	if got, want := take(5), []time.Duration{50, 100, 200, 300, 300}; !slices.Equal(got, want) {
		t.Errorf("pauses %d ms, want %d", got, want)
	}
	b.Reset()
	if got, want := take(2), []time.Duration{50, 100}; !slices.Equal(got, want) {
		t.Errorf("pauses after a reset %d ms, want %d", got, want)
	}
}

func TestUninterruptedCallsAgainAfterASignal(t *testing.T) {
	calls := 0
	err := Uninterrupted(func() error {
		if calls++; calls < 3 {
			return fmt.Errorf("reading: %w", unix.EINTR)
		}
		return drivers.ErrLost
	})
	if calls != 3 || !errors.Is(err, drivers.ErrLost) {
		t.Errorf("%d calls, error %v", calls, err)
	}
}

func TestUnreadCountsWhatWaits(t *testing.T) {
	r, w, err := os.Pipe()
	testkit.Check(t, err)
	defer r.Close()
	defer w.Close()
	testkit.Must(w.Write([]byte("KIP1")))(t)
	if n, err := Unread(r); n != 4 || err != nil {
		t.Errorf("%d bytes, %v; want 4", n, err)
	}
	testkit.Check(t, r.Close())
	if _, err := Unread(r); err == nil {
		t.Error("a closed file has no error")
	}
}
