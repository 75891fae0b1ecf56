package issuer

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/kipass/kipass/internal/durable"
	"github.com/kipass/kipass/internal/testkit"
	"github.com/kipass/kipass/protocol/auditlog"
	"github.com/kipass/kipass/protocol/day"
	"github.com/kipass/kipass/protocol/visit"
)

const filePage = 4096

// damages are ways to spoil a database file: cut at several places, pages zeroed, bits turned in heads of pages and anywhere.
func damages(whole []byte) map[string]func([]byte) []byte {
	all := map[string]func([]byte) []byte{}
	for _, n := range []int{0, 1, filePage, 3*filePage + filePage/2, len(whole) / 2} {
		all[fmt.Sprintf("cut to %d", n)] = func(b []byte) []byte { return b[:n] }
	}
	all["not a database"] = func(b []byte) []byte { return bytes.Repeat([]byte("kipass "), len(b)/7) }
	all["all pages but the metas zero"] = func(b []byte) []byte { clear(b[2*filePage:]); return b }
	for n := range len(whole) / filePage {
		all[fmt.Sprintf("page %d zero", n)] = func(b []byte) []byte { clear(b[n*filePage : (n+1)*filePage]); return b }
		for _, at := range []int{0, 8, 11, 15, 19, 23, 30} {
			all[fmt.Sprintf("page %d, byte %d turned", n, at)] = func(b []byte) []byte { b[n*filePage+at] ^= 0xFF; return b }
		}
		all[fmt.Sprintf("page %d overflows the file", n)] = func(b []byte) []byte {
			binary.NativeEndian.PutUint32(b[n*filePage+12:], 0xFFFFFFF0)
			return b
		}
	}
	random := rand.New(rand.NewPCG(5, 7))
	for n := range 40 {
		at := random.Perm(len(whole))[:1+len(whole)/500]
		all[fmt.Sprintf("bits turned, %d", n)] = func(b []byte) []byte {
			for _, i := range at {
				b[i] ^= 1 << (i % 8)
			}
			return b
		}
	}
	return all
}

// gauge reads one value of the metrics.
func (f *fixture) gauge(t testing.TB, name string) string {
	t.Helper()
	w := httptest.NewRecorder()
	f.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, PathMetrics, nil))
	for line := range strings.Lines(w.Body.String()) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			return strings.TrimSpace(value)
		}
	}
	t.Errorf("no %s in the metrics: status %d, %s", name, w.Code, w.Body)
	return ""
}

// withCodes gives out a code on one day and many on the next, which is today.
func (f *fixture) withCodes(t testing.TB) (bearer string, yesterday visit.CTI, today []visit.CTI) {
	t.Helper()
	bearer = f.register(t, testName)
	yesterday = visit.CTI(f.code(t, bearer).CTI())
	f.clock.Set(f.clock.Now().AddDate(0, 0, 1))
	for range 70 {
		today = append(today, visit.CTI(f.code(t, bearer).CTI()))
	}
	return bearer, yesterday, today
}

// Whatever happened to a day's file: the issuer goes on, tells what it cannot open, and destroys the day in time.
func TestADamagedFileOfADayCostsThatDayAlone(t *testing.T) {
	f := newFixture(t)
	bearer, yesterday, today := f.withCodes(t)
	f.close(t)
	d := day.Of(f.clock.Now())
	path := filepath.Join(f.dir, "days", d.String()+".db")
	whole := testkit.Must(os.ReadFile(path))(t)
	asked := append([]visit.CTI{yesterday}, today...)
	for rule, damage := range damages(whole) {
		for _, left := range testkit.Must(filepath.Glob(path + ".*"))(t) {
			testkit.Check(t, os.Remove(left))
		}
		testkit.Check(t, os.WriteFile(path, damage(bytes.Clone(whole)), 0o600))
		f.reopen(t, durable.Disk{})
		logger, log := testkit.NewLogger()
		f.opts.Logger, f.days.log = logger, logger
		a := f.opened(t, asked...)
		if len(a.Holders) == 0 || a.Holders[0].CTI != yesterday || len(a.Holders)+len(a.Unopened) != len(asked) {
			t.Errorf("%s: %d codes are opened, %d not, of %d; the code of another day is one of them", rule, len(a.Holders), len(a.Unopened), len(asked))
		}
		if after := f.opened(t, visit.CTI(f.code(t, bearer).CTI())); len(after.Holders) != 1 {
			t.Errorf("%s: a code given out after it cannot be opened", rule)
		}
		told, aside := log.Count("issue log of a day is damaged"), testkit.Must(filepath.Glob(path+".damaged-*"))(t)
		altered := log.Count("a file is damaged in part")
		if told != len(aside) || told+altered > 1 || f.gauge(t, "kipass_issuer_damaged_days") != fmt.Sprint(told+altered) {
			t.Errorf("%s: told %d and %d times, set aside %v", rule, told, altered, aside)
		}
		if len(a.Unopened) > 0 && told+altered == 0 || told == 1 && len(a.Holders) > 1 || strings.HasPrefix(rule, "cut") && told == 0 {
			t.Errorf("%s: told %d and %d times, %d codes not opened", rule, told, altered, len(a.Unopened))
		}
		f.close(t)
	}
	testkit.Check(t, os.WriteFile(path, whole[:len(whole)/2], 0o600))
	f.reopen(t, durable.Disk{})
	f.opened(t, asked...) // sets it aside, and there is no other
	notes := map[string]int{}
	for _, e := range f.logged(t, auditlog.KindDamage) {
		notes[e.Day+": "+e.Note]++
	}
	if want := map[string]int{d.String() + ": " + damagedLog: 1, d.String() + ": " + damagedInPart: 1}; !maps.Equal(notes, want) {
		t.Errorf("what orders met is in the audit log as %v, want %v", notes, want)
	}
	f.clock.Set(d.DestroyAt())
	testkit.Check(t, f.ConfirmClock())
	testkit.Check(t, f.Destroy())
	if left := testkit.Must(filepath.Glob(path + "*"))(t); len(left) != 0 {
		t.Errorf("left of the day: %q", left)
	}
	entries := f.logged(t, "destruction")
	if last := entries[len(entries)-1]; last.Day != d.String() || !strings.Contains(last.Note, "damaged") {
		t.Errorf("the audit log says %+v", last)
	}
}

// Whatever happened to the file of accounts: whoever is not in it any more registers anew.
func TestADamagedFileOfAccountsStopsNobody(t *testing.T) {
	f := newFixture(t)
	bearer := f.register(t, testName)
	for n := range 40 {
		f.register(t, fmt.Sprintf("%s%d", testName, n))
	}
	code := visit.CTI(f.code(t, bearer).CTI())
	f.close(t)
	path := filepath.Join(f.dir, "accounts.db")
	whole := testkit.Must(os.ReadFile(path))(t)
	for rule, damage := range damages(whole) {
		testkit.Check(t, os.WriteFile(path, damage(bytes.Clone(whole)), 0o600))
		f.reopen(t, durable.Disk{})
		if _, err := f.Issue(bearer); err != nil && !errors.Is(err, ErrUnknown) {
			t.Errorf("%s: the account of before: %v", rule, err)
		}
		f.code(t, f.register(t, testName))
		if a := f.opened(t, code); len(a.Holders) != 1 {
			t.Errorf("%s: a code of before cannot be opened", rule)
		}
		f.close(t)
	}
	f.reopen(t, durable.Disk{})
	testkit.Check(t, os.WriteFile(path+".damaged-1", whole, 0o600))
	testkit.Check(t, os.Chtimes(path+".damaged-1", f.clock.Now(), f.clock.Now()))
	d := day.Of(f.clock.Now())
	f.clock.Set((d + 1).DestroyAt())
	f.code(t, f.register(t, testName))
	testkit.Check(t, f.ConfirmClock())
	testkit.Check(t, f.accounts.purge(d))
	if _, err := os.Stat(path + ".damaged-1"); err != nil {
		t.Errorf("what may hold accounts of the day after is gone: %v", err)
	}
	testkit.Check(t, f.accounts.purge(d+1))
	if _, err := os.Stat(path + ".damaged-1"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("accounts that were set aside outlive their last day: %v", err)
	}
}

// A file that is cut while it is open faults under whoever reads it. That is damage like any other.
func TestAFileThatIsCutWhileOpen(t *testing.T) {
	for _, size := range []int64{0, filePage, 2 * filePage, 4 * filePage} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			f := newFixture(t)
			bearer, yesterday, today := f.withCodes(t)
			path := filepath.Join(f.dir, "days", day.Of(f.clock.Now()).String()+".db")
			testkit.Check(t, os.Truncate(path, size))
			if a := f.opened(t, append(today, yesterday)...); len(a.Holders) == 0 || a.Holders[len(a.Holders)-1].CTI != yesterday {
				t.Errorf("%d codes opened", len(a.Holders))
			}
			f.code(t, bearer)
			testkit.Check(t, os.Truncate(path, size))
			after := f.code(t, bearer)
			if a := f.opened(t, visit.CTI(after.CTI())); len(a.Holders) != 1 {
				t.Error("a code given out after it cannot be opened")
			}
			testkit.Check(t, os.Truncate(filepath.Join(f.dir, "accounts.db"), size))
			if _, err := f.Issue(bearer); !errors.Is(err, ErrUnknown) {
				t.Errorf("the account of before: %v", err)
			}
			f.code(t, f.register(t, testName))
		})
	}
}

// A holder whose identity is damaged within the file gets it anew with the next code: all codes of the day open again.
func TestADamagedIdentityIsWrittenAnew(t *testing.T) {
	f := newFixture(t)
	bearer, _, today := f.withCodes(t)
	testkit.Check(t, f.days.use(day.Of(f.clock.Now()), false, func(db *database) error {
		return db.update(func(tx *bbolt.Tx) error {
			who, sealed := tx.Bucket(bucketHolders).Cursor().First()
			sealed = bytes.Clone(sealed)
			sealed[len(sealed)/2] ^= 1
			return tx.Bucket(bucketHolders).Put(who, sealed)
		})
	}))
	if a := f.opened(t, today...); len(a.Unopened) != len(today) {
		t.Errorf("%d of %d codes are not opened", len(a.Unopened), len(today))
	}
	today = append(today, visit.CTI(f.code(t, bearer).CTI()))
	if a := f.opened(t, today...); len(a.Holders) != len(today) {
		t.Errorf("%d of %d codes are opened", len(a.Holders), len(today))
	}
}
