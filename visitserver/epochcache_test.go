package visitserver

import (
	"testing"

	"github.com/kipass/kipass/internal/testkit"
	"github.com/kipass/kipass/protocol/day"
	"github.com/kipass/kipass/protocol/visit"
)

// What opens the records of an epoch is as good as the key that the epoch was sealed to: it ends with the key, for a batch
// too that found the key a moment before.
func TestNothingInMemoryOpensWhatWasSealedToADestroyedKey(t *testing.T) {
	fx := newFixture(t)
	first := day.Of(noon)
	fx.to((first + SealKeyDays).Start())
	fx.stop()
	s, parts := opened(t, fx.folder, fx.clock)
	defer func() { testkit.Check(t, parts.close()) }()
	current, _ := s.seals.offered()
	days := s.seals.all()
	old := testkit.Must(s.seals.ring.Key(first))(t)
	if current.day == first || days[0] != first {
		t.Fatalf("the key in use is of %v, all are of %v", current.day, days)
	}
	open := func(key visit.SealPrivateKey) {
		t.Helper()
		sealer := testkit.Must(visit.NewSealer(key.Public(), "cafe", "door", 1))(t)
		testkit.Must(s.epochs.opener(key, "cafe", "door", sealer.Epoch()))(t)
	}
	held := func() (ids []visit.SealKeyID) {
		for _, el := range s.epochs.held {
			ids = append(ids, el.Value.(cachedEpoch).key)
		}
		return ids
	}
	open(old)
	open(current.key)
	if n := len(held()); n != 2 {
		t.Fatalf("%d epochs are kept before", n)
	}
	fx.clock.Set((first + SealKeyDays).DestroyAt())
	s.tendSealKeys(t.Context())
	if _, ok, gone := s.seals.find(old.ID()); ok || !gone {
		t.Fatal("the key is not destroyed")
	}
	open(old) // the batch had the key in hand
	if ids := held(); len(ids) != 1 || ids[0] != current.key.ID() || s.epochs.order.Len() != 1 {
		t.Errorf("kept are epochs of %v, want one of %v", ids, current.key.ID())
	}
}
