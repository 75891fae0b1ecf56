package token_test

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kipass/kipass/internal/testkit"
	"github.com/kipass/kipass/protocol/token"
)

const (
	classAccepted = "accepted"
	classRefused  = "refused"
)

type listCase struct {
	name, class, reason string
	version             uint64
	raw                 []byte
}

var (
	listFrom = time.Date(2020, 6, 10, 0, 0, 0, 0, time.UTC)
	listTo   = time.Date(2020, 9, 10, 0, 0, 0, 0, time.UTC)
)

func goodList(version uint64) token.TrustList {
	return token.TrustList{Version: version, IssuedAt: listFrom, Expires: listTo, Issuers: []token.Issuer{
		{Name: issuer, Display: "네이버", URL: "https://naver.example/orders", Keys: []token.IssuerKey{
			{Public: public(issuerKey), NotBefore: time.Unix(0, 0), NotAfter: maxTime},
			{Public: public(longKey), NotBefore: listFrom, NotAfter: listFrom},
		}},
		{Name: narrowIssuer, Display: "PASS", Keys: []token.IssuerKey{{Public: public(narrowKey), NotBefore: narrowFrom, NotAfter: narrowTo}}},
	}}
}

// listOf returns a list of n issuers of one key each.
func listOf(n int) token.TrustList {
	t := token.TrustList{Version: 1, IssuedAt: listFrom, Expires: listTo}
	for i := range n {
		name := fmt.Sprintf("issuer-%d", i)
		t.Issuers = append(t.Issuers, token.Issuer{Name: name, Display: name, Keys: []token.IssuerKey{
			{Public: public(testKey(name)), NotBefore: listFrom, NotAfter: listTo},
		}})
	}
	return t
}

func signedList(t testing.TB, l token.TrustList) []byte {
	t.Helper()
	raw, err := token.SignTrustList(rootKey, l)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// listPairs is the payload of a list with one issuer, in parts that can be replaced.
func listPairs(issuers any) []pair {
	return []pair{{0, 1}, {1, 1}, {2, listFrom.Unix()}, {3, listTo.Unix()}, {4, issuers}}
}

func keyItem(pub []byte, from, to int64) verbatim {
	return verbatim(encodedMap(pair{1, pub}, pair{2, from}, pair{3, to}))
}

func issuerItem(name, display string, keys ...verbatim) verbatim {
	return verbatim(encodedMap(pair{1, name}, pair{2, display}, pair{3, array(keys...)}))
}

func array(items ...verbatim) verbatim {
	out := verbatim{0x80 | byte(len(items))}
	for _, i := range items {
		out = append(out, i...)
	}
	return out
}

func listCases(t *testing.T) []listCase {
	sign := func(payload []byte) []byte { return newForm(rootKey, payload).sign(rootKey) }
	one := func(i verbatim) []byte { return sign(encodedMap(listPairs(array(i))...)) }
	key := keyItem(public(issuerKey), 0, listTo.Unix())
	oneKey := func(pub []byte) []byte { return one(issuerItem(issuer, "네이버", keyItem(pub, 0, 1))) }
	replace := func(at int, value any) []byte {
		p := listPairs(array(issuerItem(issuer, "네이버", key)))
		p[at].value = value
		return sign(encodedMap(p...))
	}
	withURL := func(u string) []byte {
		return one(verbatim(encodedMap(pair{1, issuer}, pair{2, "x"}, pair{3, array(key)}, pair{4, u})))
	}
	first := signedList(t, goodList(1))
	flipped := bytes.Clone(first)
	flipped[len(flipped)-40] ^= 1
	altered := goodList(1)
	altered.Issuers = altered.Issuers[:1]
	none := token.TrustList{Version: 3, IssuedAt: listFrom, Expires: listTo}
	other := newForm(rootKey, encodedMap(listPairs(array(issuerItem(issuer, "네이버", key)))...))
	const order = "deterministically"
	return []listCase{
		{"version 1", classAccepted, "", 1, first},
		{"version 1 with fewer issuers", classAccepted, "", 1, signedList(t, altered)},
		{"version 2", classAccepted, "", 2, signedList(t, goodList(2))},
		{"version 3 without issuers", classAccepted, "", 3, signedList(t, none)},
		{"an issuer without keys", classAccepted, "", 1, one(issuerItem(issuer, "네이버"))},
		{"the greatest version", classAccepted, "", 1<<64 - 1, signedList(t, goodList(1<<64-1))},

		{"signed by a stranger", classRefused, "the root key is", 0, newForm(strangerKey, other.payload).sign(strangerKey)},
		{"signed by a stranger under the root's identifier", classRefused, "signature does not match", 0, other.sign(strangerKey)},
		{"a bit changed", classRefused, "signature does not match", 0, flipped},
		{"an entry code", classRefused, "the root key is", 0, rawOf(t, genuineCodes()[0].text)},
		{"an entry code signed by the root", classRefused, "reading payload", 0, sign(encodedMap(goodClaims()...))},
		{"nothing", classRefused, "not a tagged", 0, []byte{}},
		{"a byte after the end", classRefused, "not a tagged", 0, append(bytes.Clone(first), 0)},
		{"a detached payload", classRefused, "detached", 0, func() []byte { f := other; f.shown = []byte{0xf6}; return f.sign(rootKey) }()},

		{"another format", classRefused, "format 2", 0, replace(0, 2)},
		{"version 0", classRefused, "version 0", 0, replace(1, 0)},
		{"a negative version", classRefused, "reading payload", 0, replace(1, -1)},
		{"expires when it is issued", classRefused, "does not expire", 0, replace(3, listFrom.Unix())},
		{"expires before it is issued", classRefused, "does not expire", 0, replace(3, listFrom.Unix()-1)},
		{"expires after 9999", classRefused, "out of range", 0, replace(3, maxTime.Unix()+1)},
		{"issued before 1970", classRefused, "out of range", 0, replace(2, -1)},
		{"issuers null", classRefused, order, 0, replace(4, nil)},
		{"an unknown field", classRefused, "reading payload", 0, sign(encodedMap(append(listPairs(array()), pair{5, 1})...))},
		{"a field twice", classRefused, "reading payload", 0, sign(encodedMap(append(listPairs(array()), pair{4, array()})...))},
		{"a field missing", classRefused, order, 0, sign(encodedMap(listPairs(array())[:4]...))},
		{"fields out of order", classRefused, order, 0, sign(encodedMap(pair{1, 1}, pair{0, 1}, pair{2, listFrom.Unix()}, pair{3, listTo.Unix()}, pair{4, array()}))},
		{"a version in two bytes", classRefused, order, 0, replace(1, verbatim{0x18, 1})},

		{"an issuer named in capitals", classRefused, "name must be", 0, one(issuerItem("NAVER", "x", key))},
		{"an issuer without a name", classRefused, "name must be", 0, one(issuerItem("", "x", key))},
		{"an issuer twice", classRefused, "stands twice", 0, sign(encodedMap(listPairs(array(issuerItem(issuer, "x"), issuerItem(issuer, "y")))...))},
		{"a line break in a display name", classRefused, "unprintable", 0, one(issuerItem(issuer, "a\nb", key))},
		{"a change of writing direction in a display name", classRefused, "unprintable", 0, one(issuerItem(issuer, "a\u202eb", key))},
		{"a display name of 65 characters", classRefused, "at most 64", 0, one(issuerItem(issuer, strings.Repeat("가", 65), key))},
		{"a display name of 64 characters", classAccepted, "", 1, one(issuerItem(issuer, strings.Repeat("가", 64), key))},
		{"an address without TLS", classRefused, "https", 0, withURL("http://naver.example/")},
		{"an address without a host", classRefused, "https", 0, withURL("https:///orders")},
		{"an address of 257 bytes", classRefused, "https", 0, withURL("https://" + strings.Repeat("a", 249))},
		{"an address of 256 bytes", classAccepted, "", 1, withURL("https://" + strings.Repeat("a", 248))},
		{"an empty address", classRefused, order, 0, withURL("")},

		{"a key twice", classRefused, "stands twice", 0, one(issuerItem(issuer, "x", key, key))},
		{"a key of two issuers", classRefused, "stands twice", 0, sign(encodedMap(listPairs(array(issuerItem(issuer, "x", key), issuerItem("kakao", "y", key)))...))},
		{"a key of 31 bytes", classRefused, "32 bytes", 0, oneKey(public(issuerKey)[:31])},
		{"a key of 33 bytes", classRefused, "32 bytes", 0, oneKey(append(bytes.Clone(public(issuerKey)), 0))},
		{"a key that is no point of the curve", classRefused, "not the canonical", 0, oneKey(pointY(2))},
		{"a key of order 1", classRefused, "small order", 0, oneKey(pointY(1))},
		{"a key of order 4", classRefused, "small order", 0, oneKey(pointY(0))},
		{"a key that ends before it begins", classRefused, "ends before it begins", 0, one(issuerItem(issuer, "x", keyItem(public(issuerKey), 1, 0)))},
		{"a key of one second", classAccepted, "", 1, one(issuerItem(issuer, "x", keyItem(public(issuerKey), 1, 1)))},
	}
}

// pointY encodes a small y with x even.
func pointY(y byte) []byte { return append([]byte{y}, make([]byte, 31)...) }

func updateHistory() []vectorUpdate {
	return []vectorUpdate{
		{"signed by a stranger", classRefused, 0},
		{"version 1", classAccepted, 1},
		{"version 1", classAccepted, 1},
		{"version 1 with fewer issuers", "rollback", 1},
		{"version 2", classAccepted, 2},
		{"version 1", "rollback", 2},
		{"a bit changed", classRefused, 2},
		{"the greatest version", classAccepted, 1<<64 - 1},
		{"version 3 without issuers", "rollback", 1<<64 - 1},
	}
}

func TestTrustListRoundTrip(t *testing.T) {
	want := goodList(7)
	got, err := token.OpenTrustList(public(rootKey), signedList(t, want))
	if err != nil {
		t.Fatal(err)
	}
	if got.Version != 7 || !got.IssuedAt.Equal(listFrom) || !got.Expires.Equal(listTo) || len(got.Issuers) != len(want.Issuers) {
		t.Fatalf("got %+v", got)
	}
	for i, g := range got.Issuers {
		w := want.Issuers[i]
		if g.Name != w.Name || g.Display != w.Display || g.URL != w.URL || len(g.Keys) != len(w.Keys) {
			t.Errorf("issuer %+v, want %+v", g, w)
		}
		for j, k := range g.Keys {
			x := w.Keys[j]
			if k.Issuer != w.Name || !k.Public.Equal(x.Public) || !k.NotBefore.Equal(x.NotBefore) || !k.NotAfter.Equal(x.NotAfter) {
				t.Errorf("key %+v, want %+v of %s", k, x, w.Name)
			}
		}
	}
}

func TestSignTrustListRefusesWhatOpenWould(t *testing.T) {
	for name, spoil := range map[string]func(*token.TrustList){
		"version 0":                   func(l *token.TrustList) { l.Version = 0 },
		"no expiry":                   func(l *token.TrustList) { l.Expires = time.Time{} },
		"expiry in the same second":   func(l *token.TrustList) { l.Expires = l.IssuedAt.Add(time.Second - 1) },
		"a display that is not UTF-8": func(l *token.TrustList) { l.Issuers[0].Display = "\xff" },
		"a key of another issuer":     func(l *token.TrustList) { l.Issuers[0].Keys[0].Issuer = "kakao" },
		"a key that is nil":           func(l *token.TrustList) { l.Issuers[0].Keys[0].Public = nil },
		"a key without times":         func(l *token.TrustList) { l.Issuers[0].Keys[0].NotBefore = time.Time{} },
		"more than is read":           func(l *token.TrustList) { l.Issuers = listOf(900).Issuers },
	} {
		t.Run(name, func(t *testing.T) {
			l := goodList(1)
			spoil(&l)
			if raw, err := token.SignTrustList(rootKey, l); !errors.Is(err, token.ErrTrustList) || raw != nil {
				t.Errorf("%d bytes signed, error %v", len(raw), err)
			}
		})
	}
	if _, err := token.SignTrustList(rootKey[:40], goodList(1)); err == nil {
		t.Error("signed with a key of 40 bytes")
	}
}

func TestTrustListRoomForHundredsOfIssuers(t *testing.T) {
	raw := signedList(t, listOf(500))
	if len(raw) > token.MaxTrustList {
		t.Fatalf("%d bytes", len(raw))
	}
	if _, err := token.OpenTrustList(public(rootKey), raw); err != nil {
		t.Fatal(err)
	}
	long := append(raw, make([]byte, token.MaxTrustList+1-len(raw))...)
	if _, err := token.OpenTrustList(public(rootKey), long); !errors.Is(err, token.ErrTrustList) || !strings.Contains(err.Error(), "at most 65536") {
		t.Errorf("a list of %d bytes: %v", len(long), err)
	}
}

func TestRootKeyMustBeSomebodys(t *testing.T) {
	raw := signedList(t, goodList(1))
	for name, root := range map[string]ed25519.PublicKey{
		"nil": nil, "short": public(rootKey)[:31], "small order": pointY(1), "no point": pointY(2), "the text of a key": bytes.Repeat([]byte("0"), 64),
	} {
		if err := token.NewTrust(root).Update(raw); !errors.Is(err, token.ErrTrustList) || !strings.Contains(err.Error(), "root key: public key is") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTrustHoldsItsOwnCopy(t *testing.T) {
	root := bytes.Clone(public(rootKey))
	trust := token.NewTrust(root)
	raw := signedList(t, goodList(1))
	if err := trust.Update(raw); err != nil {
		t.Fatal(err)
	}
	clear(raw)
	clear(root)
	if _, class, err := judge(validText(t), trust); class != classGenuine {
		t.Errorf("%s: %v", class, err)
	}
	if err := trust.Update(signedList(t, goodList(2))); err != nil {
		t.Error(err)
	}
}

func TestStaleListStillWorks(t *testing.T) {
	trust := token.NewTrust(public(rootKey))
	if !trust.Stale(listFrom) || trust.Version() != 0 {
		t.Error("no list at all is not stale")
	}
	if !trust.Stale(time.Time{}) {
		t.Error("no list at all is not stale at the zero time")
	}
	if err := trust.Update(signedList(t, goodList(1))); err != nil {
		t.Fatal(err)
	}
	if trust.Stale(listTo) || !trust.Stale(listTo.Add(1)) {
		t.Error("a list becomes stale at another instant than its expiry")
	}
	if _, class, err := judge(validText(t), trust); class != classGenuine {
		t.Errorf("code under a stale list: %s: %v", class, err)
	}
}

func TestUpdateRevokesKeys(t *testing.T) {
	trust := token.NewTrust(public(rootKey))
	if _, class, _ := judge(validText(t), trust); class != classUnknown {
		t.Errorf("without a list: %s", class)
	}
	if err := trust.Update(signedList(t, goodList(1))); err != nil {
		t.Fatal(err)
	}
	next := goodList(2)
	next.Issuers = next.Issuers[1:]
	if err := trust.Update(signedList(t, next)); err != nil {
		t.Fatal(err)
	}
	if _, class, _ := judge(validText(t), trust); class != classUnknown {
		t.Errorf("after its key was taken from the list: %s", class)
	}
}

// TestConcurrentUpdatesNeverRollBack has many goroutines offer all versions in different orders while others read.
func TestConcurrentUpdatesNeverRollBack(t *testing.T) {
	const versions, writers, readers = 24, 8, 4
	lists := make([][]byte, versions)
	for i := range lists {
		lists[i] = signedList(t, goodList(uint64(i+1)))
	}
	trust := token.NewTrust(public(rootKey))
	var writing, reading sync.WaitGroup
	done := make(chan struct{})
	for range readers {
		reading.Go(func() {
			var last uint64
			for {
				v := trust.Version()
				if v < last {
					t.Errorf("version %d after %d", v, last)
					return
				}
				if _, ok := trust.Key(token.KeyID(public(issuerKey))); !ok && v > 0 {
					t.Errorf("version %d without its key", v)
					return
				}
				last = v
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	for w := range writers {
		writing.Go(func() {
			for i := range versions {
				n := (i*(2*w+1) + w) % versions
				before := trust.Version()
				err := trust.Update(lists[n])
				if err != nil && !errors.Is(err, token.ErrRollback) {
					t.Error(err)
				}
				if after := trust.Version(); after < before || err == nil && after < uint64(n+1) {
					t.Errorf("version %d taken (%v), but version %d is held", n+1, err, after)
				}
			}
		})
	}
	writing.Wait()
	close(done)
	reading.Wait()
	if trust.Version() != versions {
		t.Errorf("version %d is held, want %d", trust.Version(), versions)
	}
}

func TestNoTrustListTakesAKeyThatNobodyOwns(t *testing.T) {
	for what, key := range testkit.BadKeys(t) {
		l := listOf(1)
		l.Issuers[0].Keys[0].Public = key
		if _, err := token.SignTrustList(rootKey, l); !errors.Is(err, token.ErrTrustList) {
			t.Errorf("%s: a list with it is signed: %v", what, err)
		}
		if _, err := token.OpenTrustList(key, signedList(t, goodList(1))); err == nil || !strings.Contains(err.Error(), "root key") {
			t.Errorf("%s: a list is opened under it: %v", what, err)
		}
	}
}

func TestATrustListIsReadFromAFile(t *testing.T) {
	pub, raw := public(rootKey), signedList(t, goodList(7))
	path := filepath.Join(t.TempDir(), "trust.list")
	for rule, c := range map[string]struct {
		content []byte
		want    error
	}{
		"as it was signed":                 {raw, nil},
		"with a byte more":                 {append(bytes.Clone(raw), 0), token.ErrTrustList},
		"of which no end is to be awaited": {make([]byte, 1<<20), token.ErrTrustList},
	} {
		testkit.Check(t, os.WriteFile(path, c.content, 0o600))
		if list, err := token.ReadTrustList(pub, path); !errors.Is(err, c.want) || err == nil && list.Version == 0 {
			t.Errorf("%s: version %d, %v", rule, list.Version, err)
		}
	}
	if _, err := token.ReadTrustList(pub, path+"2"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}
