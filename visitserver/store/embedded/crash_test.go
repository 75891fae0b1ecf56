package embedded

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kipass/kipass/protocol/visit"
	"github.com/kipass/kipass/visitserver/store"
	"github.com/kipass/kipass/visitserver/store/storetest"
)

// image is a disk as a power cut leaves it, with what had been acknowledged before the cut.
type image struct {
	disk  vfs.FS
	acked map[store.Blind]bool
	swaps int
}

// TestAcknowledgedIsOnTheDiskAtEveryPowerCut has several callers store overlapping rows on a disk that forgets what was
// not synced, cuts the power again and again, and holds each image against what had been acknowledged.
func TestAcknowledgedIsOnTheDiskAtEveryPowerCut(t *testing.T) {
	const callers, rounds, codes = 4, 60, 150
	disk := vfs.NewCrashableMem()
	s, err := Open("/visits", Options{FS: disk})
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	acked, swaps := map[store.Blind]bool{}, 0
	var images []image
	cut := func(unsynced int, rng *rand.Rand) {
		mu.Lock()
		known := make(map[store.Blind]bool, len(acked))
		for b := range acked {
			known[b] = true
		}
		n := swaps
		mu.Unlock()
		cfg := vfs.CrashCloneCfg{UnsyncedDataPercent: unsynced, RNG: rng}
		images = append(images, image{disk.CrashClone(cfg), known, n})
	}
	var wg sync.WaitGroup
	for c := range callers {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(c), 1))
			for round := range rounds {
				var rows []store.Row
				for range 1 + rng.IntN(20) {
					n := rng.Uint64N(codes * uint64(round+1) / rounds * 2)
					rows = append(rows, storetest.NewRow(visit.Gate(fmt.Sprintf("g%d", c)), benchDay.Start(), n))
				}
				if _, err := s.Put(t.Context(), "cafe", benchDay, rows, nil); err != nil {
					t.Errorf("put: %v", err)
					return
				}
				mu.Lock()
				for _, r := range rows {
					acked[r.Blind] = true
				}
				mu.Unlock()
				if c != 0 {
					continue
				}
				if err := s.Swap(t.Context(), store.Change{Table: "n", Key: fmt.Sprint(round), New: []byte{1}}); err != nil {
					t.Errorf("swap: %v", err)
					return
				}
				mu.Lock()
				swaps++
				mu.Unlock()
				if round%3 == 0 {
					cut([]int{0, 0, 50, 90}[round/3%4], rng)
				}
			}
		})
	}
	wg.Wait()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for i, img := range images {
		checkImage(t, i, img)
	}
	if len(images) < rounds/3 || len(images[len(images)-1].acked) < codes/2 {
		t.Fatalf("only %d images", len(images))
	}
}

func checkImage(t *testing.T, i int, img image) {
	t.Helper()
	s, err := Open("/visits", Options{FS: img.disk})
	if err != nil {
		t.Fatalf("image %d: %v", i, err)
	}
	defer s.Close()
	seen := map[store.Blind]bool{}
	for r, err := range s.Window(t.Context(), "cafe", benchDay, benchDay.Start(), (benchDay + 1).Start()) {
		if err != nil {
			t.Fatalf("image %d: %v", i, err)
		}
		if seen[r.Blind] {
			t.Errorf("image %d holds a visit twice", i)
		}
		seen[r.Blind] = true
	}
	for b := range img.acked {
		if _, held, err := s.Lookup(t.Context(), "cafe", benchDay, b); err != nil || !held || !seen[b] {
			t.Errorf("image %d has lost an acknowledged visit: %v", i, err)
		}
	}
	if n, err := s.Stored(t.Context(), "cafe"); err != nil || n != uint64(len(seen)) {
		t.Errorf("image %d counts %d visits and holds %d: %v", i, n, len(seen), err)
	}
	entries, err := s.List(t.Context(), "n", "")
	if err != nil || len(entries) < img.swaps {
		t.Errorf("image %d holds %d register values, %d were acknowledged: %v", i, len(entries), img.swaps, err)
	}
}
