// Package powerdisk is a disk as a power cut finds it: writes wait in a cache that is lost with the power, except for the
// part that happens to have reached the platter, in no order, until a flush. It is served to the kernel as a network
// block device.
package powerdisk

import (
	"fmt"
	"io"
	"math/rand/v2"
)

// Block is the size in bytes of what the disk reads and writes; Sector is what reaches the platter whole.
const (
	Block  = 4096
	Sector = 512
)

// Platter is where bytes stay. Offsets and lengths are multiples of Sector.
type Platter interface {
	io.ReaderAt
	io.WriterAt
}

// Disk is a disk with a volatile cache. One goroutine at a time may use it.
type Disk struct {
	platter Platter
	cache   map[int64]*[Block]byte // by block number; what is not yet surely on the platter
	order   []int64                // the keys of cache
	rng     *rand.Rand
	lies    bool
}

// New returns a disk on platter. The seed decides what reaches the platter unasked. One that lies takes a flush for done
// and does nothing.
func New(platter Platter, seed uint64, lies bool) *Disk {
	return &Disk{platter: platter, cache: map[int64]*[Block]byte{}, rng: rand.New(rand.NewPCG(seed, 0)), lies: lies}
}

// Read fills p, whole blocks, from block n on.
func (d *Disk) Read(n int64, p []byte) error {
	if err := checkLength(p); err != nil {
		return err
	}
	for ; len(p) > 0; n, p = n+1, p[Block:] {
		if b, ok := d.cache[n]; ok {
			copy(p, b[:])
			continue
		}
		if _, err := d.platter.ReadAt(p[:Block], n*Block); err != nil {
			return fmt.Errorf("reading block %d: %w", n, err)
		}
	}
	return nil
}

// Write takes whole blocks from block n on. They are durable at once if through is set, else after a Flush.
func (d *Disk) Write(n int64, p []byte, through bool) error {
	if err := checkLength(p); err != nil {
		return err
	}
	for ; len(p) > 0; n, p = n+1, p[Block:] {
		b, ok := d.cache[n]
		if !ok {
			b = new([Block]byte)
			d.cache[n] = b
			d.order = append(d.order, n)
		}
		copy(b[:], p)
		if through && !d.lies {
			if err := d.writeThrough(n); err != nil {
				return err
			}
		}
	}
	return d.writeBack()
}

// Flush makes durable what was written before it, block by block in random order.
func (d *Disk) Flush() error {
	if d.lies {
		return nil
	}
	d.rng.Shuffle(len(d.order), func(i, j int) { d.order[i], d.order[j] = d.order[j], d.order[i] })
	for _, n := range d.order {
		if b, ok := d.cache[n]; ok {
			if err := d.put(n, b, true); err != nil {
				return err
			}
		}
	}
	clear(d.cache)
	d.order = d.order[:0]
	return nil
}

// Unflushed returns how many blocks a power cut would take.
func (d *Disk) Unflushed() int { return len(d.cache) }

// writeThrough puts a waiting block on the platter, where it is then durable.
func (d *Disk) writeThrough(n int64) error {
	b := d.cache[n]
	if err := d.put(n, b, true); err != nil {
		return err
	}
	delete(d.cache, n)
	for i, other := range d.order {
		if other == n {
			d.order[i] = d.order[len(d.order)-1]
			d.order = d.order[:len(d.order)-1]
			break
		}
	}
	return nil
}

// writeBack lets, after one write in four, some sectors of one waiting block reach the platter, as disks do when idle.
func (d *Disk) writeBack() error {
	if len(d.order) == 0 || d.rng.IntN(4) > 0 {
		return nil
	}
	n := d.order[d.rng.IntN(len(d.order))]
	return d.put(n, d.cache[n], false)
}

// put writes a block, mostly in one go, sometimes sector by sector so that a cut can tear it. Unless all is set, some
// sectors are left out then.
func (d *Disk) put(n int64, b *[Block]byte, all bool) error {
	if d.rng.IntN(8) > 0 {
		if _, err := d.platter.WriteAt(b[:], n*Block); err != nil {
			return fmt.Errorf("writing block %d: %w", n, err)
		}
		return nil
	}
	for _, i := range d.rng.Perm(Block / Sector) {
		if !all && d.rng.IntN(2) == 0 {
			continue
		}
		if _, err := d.platter.WriteAt(b[i*Sector:(i+1)*Sector], n*Block+int64(i)*Sector); err != nil {
			return fmt.Errorf("writing sector %d of block %d: %w", i, n, err)
		}
	}
	return nil
}

func checkLength(p []byte) error {
	if len(p)%Block != 0 {
		return fmt.Errorf("%d bytes are no whole blocks of %d", len(p), Block)
	}
	return nil
}
