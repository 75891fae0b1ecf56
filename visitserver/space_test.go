package visitserver

import (
	"context"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/kipass/kipass/internal/diskspace"
	"github.com/kipass/kipass/protocol/wire"
)

// limitedSpace is a disk that is full when a test says so.
type limitedSpace struct{ full atomic.Bool }

func (s *limitedSpace) Check() error {
	if s.full.Load() {
		return diskspace.ErrFull
	}
	return nil
}

func (s *limitedSpace) Run(context.Context) {}

// On a full disk nothing is taken that would be lost, and nothing is refused for good.
func TestAFullDiskKeepsVisitsAtTheGate(t *testing.T) {
	d := newDirectFixture(t, newMemoryStore())
	space := &limitedSpace{}
	d.space = space
	space.full.Store(true)
	for _, r := range d.requests(t) {
		w := d.call(r.path, r.contentType, r.good)
		if r.path == wire.PathHeartbeat {
			if w.Code != http.StatusOK || len(d.store.(*memoryStore).values[tableHeartbeat]) != 0 {
				t.Errorf("a heartbeat is answered %d", w.Code)
			}
			continue
		}
		p, err := wire.Decode[wire.Problem](w.Body.Bytes())
		if w.Code != http.StatusServiceUnavailable || err != nil || p.Code != wire.CodeBusy || w.Header().Get("Retry-After") == "" {
			t.Errorf("%s: status %d, %+v, %v; want busy", r.path, w.Code, p, err)
		}
	}
	if n := len(d.store.(*memoryStore).visits); n != 0 {
		t.Errorf("%d visits were stored", n)
	}
	space.full.Store(false)
	for _, r := range d.requests(t) {
		if w := d.call(r.path, r.contentType, r.good); w.Code != http.StatusOK {
			t.Errorf("%s with space again: status %d", r.path, w.Code)
		}
	}
}
