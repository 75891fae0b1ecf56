package powerdisk

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/kipass/kipass/internal/testkit"
)

// platter is memory that counts.
type platter struct{ data []byte }

func (p *platter) ReadAt(b []byte, off int64) (int, error)  { return copy(b, p.data[off:]), nil }
func (p *platter) WriteAt(b []byte, off int64) (int, error) { return copy(p.data[off:], b), nil }

const blocks = 64

func newPlatter() *platter { return &platter{make([]byte, blocks*Block)} }

func filled(b byte, n int) []byte { return bytes.Repeat([]byte{b}, n*Block) }

func TestWhatWasFlushedSurvives(t *testing.T) {
	for seed := range uint64(200) {
		p := newPlatter()
		d := New(p, seed, false)
		testkit.Check(t, d.Write(3, filled('a', 4), false))
		testkit.Check(t, d.Write(4, filled('b', 1), false))
		testkit.Check(t, d.Flush())
		testkit.Check(t, d.Write(40, filled('c', 2), true))
		testkit.Check(t, d.Write(10, filled('d', 8), false))
		want := append(filled('a', 1), append(filled('b', 1), filled('a', 2)...)...)
		if !bytes.Equal(p.data[3*Block:7*Block], want) {
			t.Fatalf("seed %d: a flushed block is not on the platter", seed)
		}
		if !bytes.Equal(p.data[40*Block:42*Block], filled('c', 2)) {
			t.Fatalf("seed %d: a block written through is not on the platter", seed)
		}
	}
}

func TestWhatWasNotFlushedMayBeLostInAnyOrder(t *testing.T) {
	var lost, kept, torn, reordered int
	for seed := range uint64(500) {
		p := newPlatter()
		d := New(p, seed, false)
		for n := range int64(8) {
			testkit.Check(t, d.Write(n, filled('x', 1), false))
		}
		if d.Unflushed() != 8 {
			t.Fatalf("%d blocks wait, want 8", d.Unflushed())
		}
		gone := false
		for n := range 8 {
			switch b := p.data[n*Block : (n+1)*Block]; bytes.Count(b, []byte("x")) {
			case 0:
				lost++
				gone = true
			case Block:
				kept++
				if gone {
					reordered++
				}
			default:
				torn++
			}
		}
	}
	if lost == 0 || kept == 0 || torn == 0 || reordered == 0 {
		t.Errorf("%d blocks lost, %d kept, %d torn, %d kept although an earlier one was lost: each must happen", lost, kept, torn, reordered)
	}
}

func TestALyingDiskLosesWhatWasFlushed(t *testing.T) {
	lost := 0
	for seed := range uint64(100) {
		p := newPlatter()
		d := New(p, seed, true)
		testkit.Check(t, d.Write(1, filled('x', 4), true))
		testkit.Check(t, d.Flush())
		lost += 4 - bytes.Count(p.data, []byte("x"))/Block
	}
	if lost < 100 {
		t.Errorf("only %d of 400 flushed blocks were lost", lost)
	}
}

func TestReadsSeeTheCache(t *testing.T) {
	for _, lies := range []bool{false, true} {
		t.Run(fmt.Sprintf("lies %v", lies), func(t *testing.T) {
			d := New(newPlatter(), 1, lies)
			truth := make([]byte, blocks*Block)
			r := rand.New(rand.NewPCG(1, 2))
			for range 2000 {
				n := r.IntN(blocks - 4)
				p := filled(byte(r.Uint32()), 1+r.IntN(4))
				switch r.IntN(4) {
				case 0:
					testkit.Check(t, d.Flush())
				default:
					testkit.Check(t, d.Write(int64(n), p, r.IntN(5) == 0))
					copy(truth[n*Block:], p)
				}
				got := make([]byte, 4*Block)
				testkit.Check(t, d.Read(int64(n), got))
				if !bytes.Equal(got, truth[n*Block:(n+4)*Block]) {
					t.Fatal("a read does not give what was written")
				}
			}
		})
	}
}

func TestPartsOfBlocksAreRefused(t *testing.T) {
	d := New(newPlatter(), 1, false)
	if d.Read(0, make([]byte, 100)) == nil || d.Write(0, make([]byte, Block+1), false) == nil {
		t.Error("a part of a block was taken")
	}
}
