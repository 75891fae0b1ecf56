package kerneltime

import (
	"testing"
	"time"
)

func TestTheKernelIsAsked(t *testing.T) {
	e, err := MaxError()
	if err != nil {
		t.Skip(err) // some containers forbid adjtimex(2)
	}
	if e < 0 || e > time.Hour {
		t.Errorf("bound of the error is %v", e)
	}
	if Synced() != (e < SyncedError) {
		again, _ := MaxError() // it may have grown past the limit in between
		if Synced() != (again < SyncedError) {
			t.Errorf("error %v, synced %v", again, Synced())
		}
	}
}

func TestBoottimeGoesOn(t *testing.T) {
	first := Boottime()
	if first <= 0 {
		t.Fatalf("running for %v", first)
	}
	if second := Boottime(); second < first {
		t.Errorf("running for %v, then for %v", first, second)
	}
}
