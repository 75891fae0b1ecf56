package rowcipher

import (
	"bytes"
	"crypto/rand"
	"errors"
	"testing"
	"time"

	"github.com/kipass/kipass/internal/daykey"
	"github.com/kipass/kipass/internal/durable"
	"github.com/kipass/kipass/internal/testkit"
	"github.com/kipass/kipass/protocol/day"
	"github.com/kipass/kipass/protocol/visit"
	"github.com/kipass/kipass/visitserver/store"
)

var visitDay = day.Of(time.Date(2020, 7, 1, 0, 0, 0, 0, day.Seoul()))

func newRing(t *testing.T, dir string, master []byte) *daykey.Ring[*Key] {
	t.Helper()
	return testkit.Must(daykey.Open(dir, master, Derive, durable.Disk{}))(t)
}

func newMaster() []byte {
	b := make([]byte, daykey.KeySize)
	_, _ = rand.Read(b)
	return b
}

func sample(issuer string) Record {
	at := visitDay.Start().Add(time.Hour).UTC()
	r := Record{
		Visit: visit.Visit{At: at, Issuer: issuer, Clock: visit.ClockSynced}, Received: at.Add(time.Minute), Journal: visit.JournalID{7},
	}
	_, _ = rand.Read(r.CTI[:])
	return r
}

func TestAKeyOpensWhatItSealedAlsoAfterOpeningAgain(t *testing.T) {
	dir, master := t.TempDir(), newMaster()
	k := testkit.Must(newRing(t, dir, master).Make(visitDay))(t)
	v := sample("naver")
	for _, apart := range []bool{true, false} {
		v.Apart = apart
		row := testkit.Must(k.Seal("cafe", "door", v.At, v))(t)
		again := testkit.Must(newRing(t, dir, master).Key(visitDay))(t)
		if got, err := again.Open("cafe", row); err != nil || got != v {
			t.Errorf("opened another visit: %v", err)
		}
		if apart == (again.Blind(v.Issuer, v.CTI) == row.Blind) || apart != (again.BlindApart(v.Visit) == row.Blind) {
			t.Errorf("apart %v: it stands under another index", apart)
		}
	}
	row := testkit.Must(k.Seal("cafe", "door", v.At, v))(t)
	again := testkit.Must(newRing(t, dir, master).Key(visitDay))(t)
	if again.Blind(v.Issuer, v.CTI) != row.Blind || again.Blind("pass", v.CTI) == row.Blind {
		t.Error("blind index is not of issuer and code")
	}
}

func TestARowMovedOrChangedDoesNotOpen(t *testing.T) {
	r := newRing(t, t.TempDir(), newMaster())
	k := testkit.Must(r.Make(visitDay))(t)
	other := testkit.Must(r.Make(visitDay + 1))(t)
	v := sample("naver")
	row := testkit.Must(k.Seal("cafe", "door", v.At, v))(t)
	change := func(f func(*store.Row)) store.Row {
		r := row
		r.Sealed = bytes.Clone(row.Sealed)
		f(&r)
		return r
	}
	for rule, c := range map[string]struct {
		k *Key
		f visit.Facility
		r store.Row
	}{
		"another facility": {k, "club", row},
		"another gate":     {k, "cafe", change(func(r *store.Row) { r.Gate = "back" })},
		"another time":     {k, "cafe", change(func(r *store.Row) { r.At = r.At.Add(time.Millisecond) })},
		"another index":    {k, "cafe", change(func(r *store.Row) { r.Blind[0] ^= 1 })},
		"another byte":     {k, "cafe", change(func(r *store.Row) { r.Sealed[20] ^= 1 })},
		"cut short":        {k, "cafe", change(func(r *store.Row) { r.Sealed = r.Sealed[:5] })},
		"another day":      {other, "cafe", row},
	} {
		if _, err := c.k.Open(c.f, c.r); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v, want ErrDamaged", rule, err)
		}
	}
	again, err := k.Seal("cafe", "door", v.At, v)
	if err != nil || bytes.Equal(again.Sealed, row.Sealed) || other.Blind(v.Issuer, v.CTI) == row.Blind {
		t.Errorf("ciphertexts or indices of two seals can be linked: %v", err)
	}
}
