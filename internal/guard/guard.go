// Package guard knows the time by more than a wall clock, for what cannot be undone: a day of visits is destroyed only at a
// time for which two witnesses stand that do not depend on each other. Visit server, issuer and gate use it.
package guard

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/kipass/kipass/internal/durable"
	"github.com/kipass/kipass/internal/kerneltime"
)

const (
	// Proof is how long the program must have run, on a clock that kept step with the running time, for what that clock
	// says to be known. Times off in between neither count nor begin it anew.
	Proof = 24 * time.Hour
	// Reach is how much time off a synchronised kernel alone may vouch for at once; it is regained by [regain].
	Reach = 72 * time.Hour

	slack     = time.Hour        // by which the wall clock may differ from what is known without being in doubt
	regain    = 5                // hours of Reach with each hour of running: five hours a day outweigh 19 off
	saveEvery = 10 * time.Minute // of running
	maxClaims = 32
)

// ErrHeldBack is wrapped by errors about days that are due by some clock, while clocks differ.
var ErrHeldBack = errors.New("destruction is held back, since the clock is in doubt")

// Options are a clock's sources and where it keeps what it knows.
type Options struct {
	Now     func() time.Time     // the wall clock; nil: the system's
	Elapsed func() time.Duration // running time that nobody can set; nil: CLOCK_BOOTTIME, or from Now if that is given
	Boot    string               // under one name Elapsed goes on over restarts of the program; empty: it does not
	Synced  func() bool          // whether an NTP daemon vouches for Now; nil: adjtimex(2), or nobody if Now is given
	Disk    durable.Disk
	Logger  *slog.Logger // nil: none
}

func (o *Options) setDefaults() {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
		if o.Elapsed == nil {
			o.Elapsed, o.Boot = kerneltime.Boottime, kerneltime.BootID()
		}
		if o.Synced == nil {
			o.Synced = kerneltime.Synced
		}
	}
	if o.Elapsed == nil {
		begun := o.Now()
		o.Elapsed = func() time.Duration { return o.Now().Sub(begun) }
	}
	if o.Synced == nil {
		o.Synced = func() bool { return false }
	}
}

// Clock keeps a wall clock that is wrong – a bad battery clock, a lying time server, an operator's mistake – from destroying
// days before their time, and from keeping them in silence. It has four sources, none of which is believed alone:
//
//   - the time known: what was proven last, and the time run since;
//   - the wall clock;
//   - the kernel's synchronisation, which after a time off vouches for the wall clock within [Reach];
//   - what others agreed on, see [Clock.Hear] and [Clock.Agree]: real time is at least that.
//
// A wall clock within an hour of the known time is believed as it is. One that is ahead makes a claim. A claim becomes known
// when the program has run for [Proof] while the wall clock kept to it – each step of the clock, and each time off, is a
// claim of its own, so that neither a second one nor nightly times off begin the proof of the first anew –, at once if
// others agreed on it or the kernel's synchronisation vouches for the time off, or on an operator's word. A claim is not
// proven by running while others, heard in that time, contradict it.
//
// A wall clock that is behind the known time is a contradiction too. Days then go by the wall clock, unless what others
// agree on bears the known time out. The known time itself is lowered by a kernel that has been synchronised for Proof, or
// by an operator; never by time alone.
//
// The file is a JSON object: version 2; known (left out if nothing is) and claims, each with the time it stands for and for
// how long it has been kept to (ran, nanoseconds); back, for how long a synchronised kernel has been behind; reach, how much
// of Reach is used; boot and elapsed, the running time when it was written. A file that does not read as such counts as
// lost: then nothing is destroyed until a claim is proven. It is safe for concurrent use.
type Clock struct {
	path string
	opts Options

	mu      sync.Mutex
	state   fileState
	last    time.Duration // elapsed at the last look
	saved   time.Duration // elapsed when the file was written, or could not be
	wasOff  bool          // there may have been a time off for which the kernel has not vouched yet
	hearing hearing
}

type fileState struct {
	Version int           `json:"version"`
	Known   *level        `json:"known,omitempty"`
	Claims  []level       `json:"claims,omitempty"` // each more than slack after the one before and the known time
	Back    time.Duration `json:"back,omitempty"`
	Used    time.Duration `json:"reach,omitempty"`
	Boot    string        `json:"boot,omitempty"`
	Elapsed time.Duration `json:"elapsed,omitempty"`
}

// level is a time that goes on with the running time.
type level struct {
	At  time.Time     `json:"at"`
	Ran time.Duration `json:"ran"` // since it was first claimed, or made known
}

const version = 2

// Open reads the guard's file and takes a first look. A file that is missing, damaged or cannot be read is begun anew.
func Open(path string, opts Options) *Clock {
	opts.setDefaults()
	g := &Clock{path: path, opts: opts, wasOff: true}
	g.last = opts.Elapsed()
	raw, err := os.ReadFile(path)
	var st fileState
	if err == nil {
		err = json.Unmarshal(raw, &st)
	}
	if err == nil && st.Version == version {
		g.state = st
		if opts.Boot != "" && st.Boot == opts.Boot && st.Elapsed <= g.last {
			g.last, g.wasOff = st.Elapsed, false // how long it was off is known
		}
	} else {
		opts.Logger.Warn("the last known time is lost; nothing is destroyed until the clock has proven itself", "path", path, "error", err)
		g.state = fileState{Version: version}
	}
	g.Look()
	return g
}

// Look looks at all sources and returns how far destruction may go. What it has learnt becomes durable about every ten
// minutes of running, and when anything changes; that the file cannot be written, as on a full disk, is logged and stops
// nothing.
func (g *Clock) Look() Horizon {
	g.mu.Lock()
	defer g.mu.Unlock()
	now, changed := g.advance()
	if changed || g.last-g.saved >= saveEvery {
		if err := g.save(); err != nil {
			g.opts.Logger.Error("what is known of the time is not kept", "error", err)
		}
	}
	return g.horizon(now)
}

// Times tells the earliest and the latest time that it may be.
func (g *Clock) Times() (earliest, latest time.Time) {
	h := g.Look()
	return h.Earliest(), h.Latest()
}

func (g *Clock) horizon(now time.Time) Horizon {
	h := Horizon{Now: now}
	st := &g.state
	if st.Known == nil {
		h.Doubt, h.Left = Ahead, Proof-st.Claims[len(st.Claims)-1].Ran
		return h
	}
	h.Known, h.By = st.Known.At, now
	switch off := now.Sub(h.Known); {
	case off > slack:
		h.By, h.Doubt, h.Left = h.Known, Ahead, Proof-st.Claims[len(st.Claims)-1].Ran
	case off < -slack:
		h.Doubt = Behind
		if agreed := g.agreed(0); agreed.After(now.Add(slack)) {
			h.By = earlier(h.Known, agreed)
		}
	}
	return h
}

// Confirm believes the wall clock as it stands, on an operator's word.
func (g *Clock) Confirm() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	now, _ := g.advance()
	g.state = fileState{Version: version}
	g.know(now)
	return g.save()
}

// Close makes what the guard knows durable, as the program ends.
func (g *Clock) Close() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.advance()
	return g.save()
}

func (g *Clock) save() error {
	g.saved = g.last
	g.state.Boot, g.state.Elapsed = g.opts.Boot, g.last
	raw, err := json.Marshal(g.state)
	if err != nil {
		return fmt.Errorf("encoding the last known time: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(g.path), 0o700); err != nil {
		return fmt.Errorf("writing the last known time: %w", err)
	}
	if err := g.opts.Disk.Replace(g.path, raw, 0o600); err != nil {
		return fmt.Errorf("writing the last known time: %w", err)
	}
	return nil
}
