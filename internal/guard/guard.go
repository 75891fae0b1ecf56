// Package guard knows the time by more than a wall clock, for what cannot be undone: a day of visits is destroyed only when
// the wall clock and the running time support each other. Visit server and issuer use it.
package guard

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/kipass/kipass/internal/durable"
)

const (
	// Leeway is how far the wall clock may run ahead of what the guard knows, without being doubted.
	Leeway = 72 * time.Hour
	// Proof is how long the program must have run, on a clock without a jump, for that clock to be believed.
	Proof = 24 * time.Hour

	lag       = time.Hour        // how far the clock may fall behind without that being a jump
	saveEvery = 10 * time.Minute // of running
)

// ErrHeldBack is wrapped by errors about days that are due by a wall clock which is in doubt.
var ErrHeldBack = errors.New("destruction is held back, since the clock is far ahead of what is known")

// Clock keeps a wall clock that is far ahead – a bad battery clock, an operator's mistake – from destroying days before
// their time. It knows the time from two sources: the last time it believed, kept in a file, and how long the program has
// run since, by the monotonic clock. As long as the wall clock is at most [Leeway] ahead of their sum it is believed as
// it is. A clock further ahead is held back: only what was due by the sum may be destroyed, until either the program has
// run [Proof] longer and the clock has kept step, or the operator confirms the clock.
//
// A program that was off for a week cannot be told from a clock that jumped a week: what fell due meanwhile is destroyed
// after Proof of running, up to 24 hours late. So is everything of a folder whose guard's file is lost. To keep a visit a
// day longer after a long outage is better than to destroy a month of them early.
//
// Times off count as steps of up to Leeway, summed up over one Proof of running. A clock that is set back is a jump like
// any other, but destroys nothing.
//
// The file is a JSON object: version 1; known, the time believed when it was written (left out if none is); since and ran,
// the wall clock when the current row of even running began, and the running time since, in nanoseconds. A file that does
// not read as such counts as lost. It is safe for concurrent use.
type Clock struct {
	path    string
	now     func() time.Time
	elapsed func() time.Duration
	disk    durable.Disk

	mu    sync.Mutex
	state fileState
	last  time.Duration // elapsed at the last look
	saved time.Duration // elapsed when the file was written
}

type fileState struct {
	Version int           `json:"version"`
	Known   time.Time     `json:"known,omitzero"`
	Since   time.Time     `json:"since"`
	Ran     time.Duration `json:"ran"`
}

// Open reads the guard's file, makes it anew if it is missing or damaged, and takes a first look. now is the wall
// clock. elapsed is how long the program has run by the monotonic clock; nil takes it from now, whose readings must then
// hold one (see package time), as those of time.Now do.
func Open(path string, now func() time.Time, elapsed func() time.Duration, disk durable.Disk) (*Clock, error) {
	if elapsed == nil {
		begun := now()
		elapsed = func() time.Duration { return now().Sub(begun) }
	}
	g := &Clock{path: path, now: now, elapsed: elapsed, disk: disk}
	g.last = elapsed()
	raw, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("reading the last known time: %w", err)
	}
	var st fileState
	if err == nil && json.Unmarshal(raw, &st) == nil && st.Version == version && st.Ran >= 0 {
		g.state = st
	}
	if _, err := g.Look(); err != nil {
		return nil, err
	}
	return g, nil
}

const version = 1

// Look looks at both clocks and returns how far destruction may go. What it has learnt becomes durable about every ten
// minutes of running, and when anything changes.
func (g *Clock) Look() (Horizon, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.now().Round(0) // the wall clock alone
	changed := g.advance(now)
	if changed || g.last-g.saved >= saveEvery {
		if err := g.save(); err != nil {
			return Horizon{}, err
		}
	}
	h := Horizon{Now: now, By: now}
	if g.state.Known.IsZero() || now.Sub(g.state.Known) > Leeway {
		h.By, h.Left = g.state.Known, Proof-g.state.Ran
	}
	return h, nil
}

// advance takes the time that has passed into the state and reports whether more than time has changed.
func (g *Clock) advance(now time.Time) (changed bool) {
	elapsed := g.elapsed()
	passed := max(elapsed-g.last, 0)
	g.last = elapsed
	st := &g.state
	if !st.Known.IsZero() {
		st.Known = st.Known.Add(passed)
	}
	st.Ran += passed
	drift := now.Sub(st.Since) - st.Ran
	if st.Version == 0 || drift < -lag || drift > Leeway {
		*st = fileState{Version: version, Known: st.Known, Since: now}
		return true
	}
	if st.Ran >= Proof {
		*st = fileState{Version: version, Known: now, Since: now}
		return true
	}
	return false
}

// Confirm believes the wall clock as it stands, on an operator's word.
func (g *Clock) Confirm() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.now().Round(0)
	g.last = g.elapsed()
	g.state = fileState{Version: version, Known: now, Since: now}
	return g.save()
}

// Close makes what the guard knows durable, as the program ends.
func (g *Clock) Close() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.advance(g.now().Round(0))
	return g.save()
}

func (g *Clock) save() error {
	raw, err := json.Marshal(g.state)
	if err != nil {
		return fmt.Errorf("encoding the last known time: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(g.path), 0o700); err != nil {
		return fmt.Errorf("writing the last known time: %w", err)
	}
	if err := g.disk.Replace(g.path, raw, 0o600); err != nil {
		return fmt.Errorf("writing the last known time: %w", err)
	}
	g.saved = g.last
	return nil
}
