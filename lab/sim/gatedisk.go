package sim

import (
	"sync"
	"syscall"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/kipass/kipass/firmware/journal"
	"github.com/kipass/kipass/internal/durable"
)

// gateDisk is the disk under a gate's journal: real files, with faults above them.
type gateDisk struct {
	mu     sync.Mutex
	slow   time.Duration // of each flush
	full   bool
	broken int  // the next commits fail with EIO
	cutIn  int  // commits until the power is cut; 0: never
	after  bool // the commit at which it is cut reaches the disk
	dead   bool
	died   chan struct{} // receives when the power was cut; buffered
}

func newGateDisk() *gateDisk { return &gateDisk{died: make(chan struct{}, 1)} }

func (d *gateDisk) change(f func(*gateDisk)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f(d)
}

// restore lets the disk work again after a cut.
func (d *gateDisk) restore() { d.change(func(d *gateDisk) { d.dead, d.cutIn = false, 0 }) }

func (d *gateDisk) isDead() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.dead
}

// cut cuts the power now.
func (d *gateDisk) cut() {
	d.dead = true
	select {
	case d.died <- struct{}{}:
	default:
	}
}

const plentyFree = 1 << 40

// system is the journal's view of the disk.
func (d *gateDisk) system() journal.System {
	return journal.System{
		Update: d.update,
		Disk: durable.Disk{Step: func(_ string, do func() error) error {
			if d.isDead() {
				return errPowerCut
			}
			return do()
		}},
		Free: func(string) (uint64, error) {
			d.mu.Lock()
			defer d.mu.Unlock()
			if d.full {
				return 0, nil
			}
			return plentyFree, nil
		},
	}
}

// update commits, or fails as a disk may.
func (d *gateDisk) update(db *bolt.DB, f func(*bolt.Tx) error) error {
	d.mu.Lock()
	slow, dead := d.slow, d.dead
	fails := d.broken > 0
	d.broken = max(0, d.broken-1)
	cut := d.cutIn == 1
	d.cutIn = max(0, d.cutIn-1)
	if cut && !d.after {
		d.cut()
	}
	dead = dead || d.dead
	d.mu.Unlock()
	time.Sleep(slow)
	switch {
	case dead:
		return errPowerCut
	case fails:
		return syscall.EIO
	}
	err := db.Update(f)
	if cut {
		d.change((*gateDisk).cut)
		return errPowerCut
	}
	return err
}
