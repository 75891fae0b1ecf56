package issuer

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/kipass/kipass/internal/durable"
	"github.com/kipass/kipass/internal/testkit"
	"github.com/kipass/kipass/protocol/auditlog"
	"github.com/kipass/kipass/protocol/day"
)

// Damage to a day of which nobody asks for anything is found all the same, and told: in the log, the metrics, and once in the
// audit log.
func TestADamagedDayIsFoundBeforeAnOrderIs(t *testing.T) {
	d := day.Of(noon)
	key, issueLog := filepath.Join("keys", d.String()+".key"), filepath.Join("days", d.String()+".db")
	write := func(t *testing.T, path string, content func([]byte) []byte) {
		testkit.Check(t, os.WriteFile(path, content(testkit.Must(os.ReadFile(path))(t)), 0o600))
	}
	for rule, c := range map[string]struct {
		damage func(t *testing.T, f *fixture)
		note   string
	}{
		"nothing": {func(*testing.T, *fixture) {}, ""},
		"its key is torn": {func(t *testing.T, f *fixture) {
			write(t, filepath.Join(f.dir, key), func(b []byte) []byte { return b[:len(b)/2] })
		}, damagedKey},
		"a bit of its key": {func(t *testing.T, f *fixture) {
			write(t, filepath.Join(f.dir, key), func(b []byte) []byte { b[30] ^= 4; return b })
		}, damagedKey},
		"its key is gone": {func(t *testing.T, f *fixture) { testkit.Check(t, os.Remove(filepath.Join(f.dir, key))) }, missingKey},
		"its issue log is torn": {func(t *testing.T, f *fixture) {
			testkit.Check(t, os.Truncate(filepath.Join(f.dir, issueLog), 2*filePage))
		}, damagedLog},
		"a meta page of its issue log": {func(t *testing.T, f *fixture) {
			write(t, filepath.Join(f.dir, issueLog), func(b []byte) []byte { b[20] ^= 1; return b })
		}, damagedInPart},
		"a bit of an entry": {func(t *testing.T, f *fixture) {
			testkit.Check(t, f.days.use(d, false, func(db *database) error {
				return db.update(func(tx *bbolt.Tx) error {
					code, sealed := tx.Bucket(bucketCodes).Cursor().First()
					sealed = append([]byte(nil), sealed...)
					sealed[20] ^= 1
					return tx.Bucket(bucketCodes).Put(code, sealed)
				})
			}))
		}, damagedInPart},
	} {
		for when, reopened := range map[string]bool{"while it runs": false, "while it was off": true} {
			t.Run(rule+", "+when, func(t *testing.T) {
				f := newFixture(t)
				f.threeDays(t)
				c.damage(t, f)
				if reopened {
					f.reopen(t, durable.Disk{})
				}
				logger, log := testkit.NewLogger()
				f.opts.Logger = logger
				for range 2 {
					testkit.Check(t, f.CheckDays())
					f.reopen(t, durable.Disk{})
				}
				testkit.Check(t, f.CheckDays())
				told, gauge := f.logged(t, auditlog.KindDamage), f.gauge(t, "kipass_issuer_damaged_days")
				if c.note == "" {
					if len(told) != 0 || gauge != "0" || strings.Contains(log.String(), "damaged") {
						t.Errorf("told %v, %s days, %s", told, gauge, log)
					}
					return
				}
				if len(told) != 1 || told[0].Day != d.String() || told[0].Note != c.note || gauge != "1" || log.Count("a day is damaged: not") != 1 {
					t.Errorf("told %+v, %s days, %s", told, gauge, log)
				}
			})
		}
	}
}

// A running issuer looks by itself.
func TestARunningIssuerFindsDamage(t *testing.T) {
	f := newFixture(t)
	d := f.threeDays(t)
	testkit.Check(t, os.Truncate(filepath.Join(f.dir, "days", d.String()+".db"), filePage))
	r := serve(t, f, RegisterOpen)
	testkit.Eventually(t, "the day is told", func() bool { return r.log.Count("a day is damaged: not") == 1 })
}
