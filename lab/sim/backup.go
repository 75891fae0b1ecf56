package sim

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kipass/kipass/protocol/wire"
	"github.com/kipass/kipass/visitserver"
)

// Backups are taken as docs/setup.md tells: of the folder of data while its program is off, without the secrets. What is
// restored is an hour to a day old. A visit server gets back from its gates what it had taken since; an issuer has lost
// whose the codes of that time are.

// serverBackup is a copy of what the visit server's disks held.
type serverBackup struct {
	at    time.Time
	dir   string
	files *vfs.MemFS
	// cleared is, for each gate, when it had nothing left to deliver last: later visits may not be in the backup.
	cleared map[*gateParty]time.Time
}

// span is a time of which something is known to be lost.
type span struct {
	from, to time.Time
	what     string
}

// backUp copies what the server has on its disks; nil if its power is cut before that is done.
func (v *visitParty) backUp() (*serverBackup, error) {
	if v.stop(); v.dead {
		return nil, nil
	}
	b := &serverBackup{
		at: time.Now(), dir: v.w.path(fmt.Sprintf("backup-%d", v.w.report.Starts)), cleared: map[*gateParty]time.Time{},
		files: v.files.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: v.rng}),
	}
	for _, g := range v.w.gates {
		b.cleared[g] = g.cleared
	}
	return b, errors.Join(os.CopyFS(b.dir, os.DirFS(v.folder.Dir)), v.start())
}

// restore puts a backup in the place of what the server has, and gives it the newest trust list and the time, as an operator
// has to. One who sees a clock that is wrong lets it be.
func (v *visitParty) restore(b *serverBackup) error {
	v.stop()
	dir := v.w.path(fmt.Sprintf("restored-%d", v.w.report.Starts))
	if err := os.CopyFS(dir, os.DirFS(b.dir)); err != nil {
		return err
	}
	v.folder.Dir, v.files = dir, b.files
	if err := v.start(); err != nil {
		return err
	}
	err := v.operate(visitserver.AdminRequest{Command: "trust-list", File: v.w.scheme.newest}, nil)
	if v.clock.right() {
		confirm := visitserver.AdminRequest{Command: "destroy", Args: []string{visitserver.ConfirmClock}}
		err = errors.Join(err, v.operate(confirm, nil))
	}
	return err
}

// restoreServer lets the visit server lose all that came after a backup.
func (w *world) restoreServer() {
	if w.backup != nil { // one at a time
		return
	}
	var err error
	if w.backup, err = w.visits.backUp(); err != nil {
		w.violated("the visit server does not start after a backup: %v", err)
	}
	if w.backup == nil {
		return
	}
	w.after(w.between(time.Hour, 24*time.Hour), func() {
		b := w.backup
		w.backup = nil
		if w.copied() {
			return
		}
		w.trace("the visit server is restored as it was %v ago", time.Since(b.at))
		w.troubles.moment(serverRestored, time.Now())
		if err := w.visits.restore(b); err != nil {
			w.violated("the visit server does not start from a backup: %v", err)
			return
		}
		for _, g := range w.gates {
			g.owes, g.cutOff = b, time.Now()
			w.excuse(g)
			if g.changed.After(b.at) && g.of == nil { // the register knows nothing of it
				g.weather.change(func(c *conditions) { *c = conditions{} })
				w.check("enrolling a gate that the backup does not know", g.enrolAgain())
				g.changed = time.Now()
				g.off(time.Minute, false)
			}
		}
		w.askOf(b.at, time.Now())
	})
}

// excuse takes note that a gate cannot send again what a restored server has lost: it has given that up for want of space,
// or has lost it.
func (w *world) excuse(g *gateParty) {
	if g.owes != nil && g.forgot.After(g.owes.at) {
		w.forgive(g, g.owes.cleared[g])
	}
}

// forgive takes note that visits at a gate since a moment may be lost. What is lost has to be told.
func (w *world) forgive(g *gateParty, since time.Time) {
	n := 0
	for _, p := range w.crowd.admitted {
		if p.gate == g && p.at.After(since.Add(-answerBy)) {
			p.lost = true
			n++
		}
	}
	w.trace("%d visits at %s may be lost", n, g.name)
}

// restoreIssuer lets an issuer lose all that came after a backup.
func (w *world) restoreIssuer() {
	i := w.issuers[w.rng.IntN(len(w.issuers))]
	dir, at, spoilt := w.path(fmt.Sprintf("backup-%s-%d", i.name, len(w.lost))), time.Now(), maps.Clone(i.spoilt)
	if _, err := os.Stat(dir); err == nil { // one at a time
		return
	}
	i.close()
	w.check("issuer "+i.name+" after a backup", errors.Join(os.CopyFS(dir, os.DirFS(i.dir)), i.open(w)))
	w.after(w.between(time.Hour, 24*time.Hour), func() {
		if i.rekeyed.After(at) { // a backup of before is of no use
			w.check("an issuer's old backup", os.RemoveAll(dir))
			return
		}
		w.trace("issuer %s is restored as it was %v ago", i.name, time.Since(at))
		i.close()
		w.check("issuer "+i.name+" from a backup", errors.Join(os.RemoveAll(i.dir), os.CopyFS(i.dir, os.DirFS(dir)), os.RemoveAll(dir), i.open(w)))
		i.spoilt, i.spoiltAt, i.restoredAt = spoilt, time.Now(), time.Now()
		w.lost = append(w.lost, span{at, time.Now(), "codes of issuer " + i.name})
		w.askOf(at, time.Now())
	})
}

// askOf asks who was there in a window, at once and when gates have told how they stand.
func (w *world) askOf(from, to time.Time) {
	ask := func() {
		if w.answers() {
			w.whoWasThere(from, to)
		}
	}
	ask()
	w.after(soundAfter, ask)
}

// check holds an operator's step to having worked.
func (w *world) check(step string, err error) {
	if err != nil {
		w.violated("%s: %v", step, err)
	}
}

// knownLost tells whether it is known that somebody of a window cannot be named any more.
func (w *world) knownLost(from, to time.Time) bool {
	for _, s := range w.lost {
		if s.from.Add(-answerBy).Before(to) && from.Before(s.to.Add(answerBy)) {
			return true
		}
	}
	return false
}

// deafen takes from an answer to a gate what the server asks for again.
func deafen(answer []byte) []byte {
	r, err := wire.Decode[wire.Receipt](answer)
	if err != nil || r.Resend == nil {
		return answer
	}
	r.Resend = nil
	if answer, err = wire.Encode(r); err != nil {
		panic(err)
	}
	return answer
}
