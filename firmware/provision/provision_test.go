package provision

import (
	"errors"
	"testing"

	"github.com/kipass/kipass/internal/testkit"
	"github.com/kipass/kipass/protocol/visit"
)

// fixture is a provisioner with a journal and a trust list that note what they are given.
type fixture struct {
	*Provisioner
	keys   []visit.SealKeyID
	lists  []string
	refuse error
	begun  int
}

func newFixture(*testing.T) *fixture {
	f := &fixture{}
	log, _ := testkit.NewLogger()
	f.Provisioner = New(Options{Journal: f, Trust: f, Begin: func() { f.begun++ }, Logger: log})
	return f
}

func (f *fixture) SetSealKey(k visit.SealPublicKey) { f.keys = append(f.keys, k.ID()) }
func (f *fixture) Version() uint64                  { return uint64(len(f.lists)) }

func (f *fixture) Update(signed []byte) error {
	if f.refuse == nil {
		f.lists = append(f.lists, string(signed))
	}
	return f.refuse
}

func newKey(t *testing.T) visit.SealPublicKey {
	t.Helper()
	return testkit.Must(visit.GenerateSealKey())(t).Public()
}

func TestAProvisionGoesIntoUse(t *testing.T) {
	f := newFixture(t)
	if list, key := f.Holding(); list != 0 || key != (visit.SealKeyID{}) || f.Done() {
		t.Errorf("before the first: list %d, key %v, done %v", list, key, f.Done())
	}
	first, second := newKey(t), newKey(t)
	testkit.Check(t, f.Apply(first.Bytes(), []byte("list 1")))
	if list, key := f.Holding(); list != 1 || key != first.ID() || !f.Done() || f.begun != 1 {
		t.Errorf("after the first: list %d, key %v, done %v, begun %d times", list, key, f.Done(), f.begun)
	}
	testkit.Check(t, f.Apply(first.Bytes(), []byte("list 2")))
	if len(f.keys) != 1 {
		t.Errorf("the key in use began another epoch: %v", f.keys)
	}
	testkit.Check(t, f.Apply(second.Bytes(), []byte("list 3")))
	if list, key := f.Holding(); list != 3 || key != second.ID() || len(f.keys) != 2 || f.keys[1] != second.ID() {
		t.Errorf("after a new key: list %d, key %v, journal's keys %v", list, key, f.keys)
	}
}

func TestAProvisionIsTakenWholeOrNotAtAll(t *testing.T) {
	f := newFixture(t)
	key := newKey(t)
	if err := f.Apply(key.Bytes()[1:], []byte("list")); err == nil || len(f.lists) != 0 {
		t.Errorf("a key that is none: %v, lists %v", err, f.lists)
	}
	f.refuse = errors.New("signed by nobody")
	if err := f.Apply(key.Bytes(), []byte("list")); !errors.Is(err, f.refuse) || len(f.keys) != 0 {
		t.Errorf("a list that is refused: %v, keys %v", err, f.keys)
	}
	if _, held := f.Holding(); held != (visit.SealKeyID{}) || f.Done() || f.begun != 0 {
		t.Errorf("key %v, done %v, begun %d times", held, f.Done(), f.begun)
	}
}
