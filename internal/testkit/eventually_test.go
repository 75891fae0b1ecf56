package testkit

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// failing is a test of which another test watches the end.
type failing struct {
	testing.TB
	why string
}

func (f *failing) Helper() {}

func (f *failing) Fatalf(format string, args ...any) {
	f.why = format
	panic(f)
}

func fails(f *failing, do func()) (failed bool) {
	defer func() { failed = recover() == f }()
	do()
	return false
}

func TestEventually(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		Eventually(t, "a minute", func() bool { return time.Since(began) >= time.Minute })
		if took := time.Since(began); took != time.Minute {
			t.Errorf("returned after %v", took)
		}
		f := &failing{}
		if !fails(f, func() { Eventually(f, "never", func() bool { return false }) }) || !strings.Contains(f.why, "not after") {
			t.Errorf("what never holds: %q", f.why)
		}
	})
}

func TestSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := make(chan int)
		go func() { time.Sleep(time.Minute); c <- 7 }()
		if got := Soon(t, "seven", c); got != 7 {
			t.Errorf("got %d", got)
		}
		f := &failing{}
		if !fails(f, func() { Soon(f, "never", c) }) || !strings.Contains(f.why, "not after") {
			t.Errorf("what never comes: %q", f.why)
		}
	})
}
