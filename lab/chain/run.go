// Package chain runs the whole of kipass on one machine – issuers, visit server, gate and health authority as the real
// programs in processes of their own – with simulated phones and a simulated reader, breaks things on purpose, and
// holds what the health authority learns against what the lab saw on the gate's screen.
package chain

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/kipass/kipass/firmware/journal"
	"github.com/kipass/kipass/lab/internal/process"
	"github.com/kipass/kipass/protocol/visit"
	"github.com/kipass/kipass/visitserver"
)

// Options of a run. The zero value of each is its default.
type Options struct {
	Bin    string        // folder of the programs; default: the folder this program lies in
	Dir    string        // where all parties keep their data, empty or to be made, and kept; default: a new temporary folder, removed after a good run
	Scans  int           // number of scans; 0 goes on until the context ends
	Outage time.Duration // for how long the visit server is cut off in the middle
	Kill   time.Duration // how often the gate is killed and started anew; 0 never
	Clock  string        // a wall clock that is wrong, see ParseClock; default: none
	Disk   string        // one of DiskFaults, in the middle of the run; default: none
	Reader string        // one of ReaderHabits; default "plain"
	Baud   int           // of the serial line; default 115200
	Seed   uint64        // of what happens in front of the gate; default from the clock
	Pace   time.Duration // between two scans; default 250 ms, which cuts the voice short
	Listen bool          // who was shown green hears the voice out before the next one comes; Sound is "capture"
	Sound  string        // "capture" takes the voice's samples, "device" uses the machine's default sound device, "none" is silent; default: capture if the scans are numbered, else none
	Log    io.Writer     // the live table
}

// Summary is the result of a run. Lost, Duplicated, FalseGreen and LateGreen must be 0, and Opened and Traced must equal Truth.
type Summary struct {
	Scans      int            `json:"scans"`
	Outcomes   map[string]int `json:"outcomes"`
	Green      int            `json:"green"`       // visitors shown green
	Journalled uint64         `json:"journalled"`  // records the gate made durable
	Synced     uint64         `json:"synced"`      // of them, taken by the server
	Stored     uint64         `json:"stored"`      // visits at the server
	Lost       int            `json:"lost"`        // visitors shown green but not stored
	Duplicated int            `json:"duplicated"`  // codes stored more than once
	FalseGreen int            `json:"false_green"` // green for a code that should not be, or without a durable record
	LateGreen  int            `json:"late_green"`  // green more than 3 s after the last byte of the code
	Opened     int            `json:"opened"`      // holders opened by an order over the true window
	Traced     int            `json:"traced"`      // visits on the health authority's contact list
	Truth      int            `json:"truth"`       // visits that should be on it, as the lab saw them
	Voiced     int            `json:"voiced"`      // times the green tone left the process as sound; -1 if not captured
	Spoken     int            `json:"spoken"`      // times the words of admission did so whole: no later cue cut them
	Surprises  []surprise     `json:"surprises,omitempty"`
	Restarts   int            `json:"restarts"`
	Ledger     string         `json:"ledger"` // "ok", or where device and server disagree
	Seed       uint64         `json:"seed"`
}

// Err tells what is wrong with the result, nil if nothing is.
func (s Summary) Err() error {
	var errs []error
	for _, c := range []struct {
		n    int
		what string
	}{
		{s.Lost, "shown green but not stored"}, {s.Duplicated, "stored more than once"},
		{s.FalseGreen, "green without right or record"}, {s.LateGreen, "green later than 3 s after the code was read"},
		{len(s.Surprises), "unexpected outcomes"},
	} {
		if c.n > 0 {
			errs = append(errs, fmt.Errorf("%d %s", c.n, c.what))
		}
	}
	if s.Scans > 0 && s.Green == 0 {
		errs = append(errs, errors.New("nobody was shown green, so that nothing was shown"))
	}
	if s.Opened != s.Truth {
		errs = append(errs, fmt.Errorf("%d holders opened, %d are the truth", s.Opened, s.Truth))
	}
	if s.Traced != s.Truth {
		errs = append(errs, fmt.Errorf("%d visits traced, %d are the truth", s.Traced, s.Truth))
	}
	if s.Ledger != "ok" {
		errs = append(errs, errors.New("device and server disagree: "+s.Ledger))
	}
	return errors.Join(errs...)
}

const (
	readyWithin = 5 * time.Minute // generous: these only end a run that hangs
	drainWithin = 5 * time.Minute
)

// Run does one run and returns its summary. An error means that the run could not be done; the folder is then kept.
func Run(ctx context.Context, opts Options) (Summary, error) {
	given := opts.Dir != ""
	if err := opts.check(); err != nil {
		return Summary{}, err
	}
	if err := opts.setDefaults(); err != nil {
		return Summary{}, err
	}
	began := time.Now()
	summary, err := perform(ctx, opts, began)
	if err = errors.Join(err, summary.Err()); err != nil {
		return summary, fmt.Errorf("%w (data and logs are in %s)", err, opts.Dir)
	}
	if given {
		return summary, nil
	}
	return summary, os.RemoveAll(opts.Dir)
}

// takeDir makes a folder the user has named. What already lies in one is neither used nor lost.
func takeDir(dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("folder for data and logs: %w", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "", fmt.Errorf("folder for data and logs: %w", err)
	}
	if len(entries) > 0 {
		return "", fmt.Errorf("folder for data and logs: %s is not empty; name a new one", dir)
	}
	return dir, nil
}

func (opts *Options) setDefaults() error {
	if opts.Bin == "" {
		self, err := os.Executable()
		if err != nil {
			return err
		}
		opts.Bin = filepath.Dir(self)
	}
	var err error
	if opts.Dir == "" {
		opts.Dir, err = os.MkdirTemp("", "kipass-lab-")
	} else {
		opts.Dir, err = takeDir(opts.Dir)
	}
	if err != nil {
		return err
	}
	if opts.Baud == 0 {
		opts.Baud = 115200
	}
	if opts.Seed == 0 {
		opts.Seed = uint64(time.Now().UnixNano())
	}
	if opts.Pace == 0 {
		opts.Pace = 250 * time.Millisecond
	}
	if opts.Sound == "" {
		opts.Sound = "none"
		if opts.Scans > 0 {
			opts.Sound = "capture"
		}
	}
	if opts.Reader == "" {
		opts.Reader = "plain"
	}
	if opts.Log == nil {
		opts.Log = io.Discard
	}
	return nil
}

// check returns why the options cannot be meant.
func (opts Options) check() error {
	if _, err := ParseClock(opts.Clock); err != nil {
		return err
	}
	if opts.breaks() && opts.Scans > 0 && opts.Scans < minScans {
		return fmt.Errorf("%d scans: what is to go wrong needs %d at least", opts.Scans, minScans)
	}
	if opts.Disk != "" && !slices.Contains(DiskFaults, opts.Disk) {
		return fmt.Errorf("disk %q: there are %s", opts.Disk, strings.Join(DiskFaults, ", "))
	}
	if _, ok := habits[opts.Reader]; opts.Reader != "" && !ok {
		return fmt.Errorf("reader %q: there are %s", opts.Reader, strings.Join(ReaderHabits, ", "))
	}
	return nil
}

// breaks reports whether something is to go wrong.
func (opts Options) breaks() bool {
	return opts.Outage > 0 || opts.Kill > 0 || opts.Clock != "" || opts.Disk != ""
}

// surelyRefuses reports whether a visitor is refused for the fault of the disk. A slow disk is not slow enough, a full one
// has a reserve, and a gate that is killed may meet it as the disk is well again.
func (opts Options) surelyRefuses() bool {
	return opts.Kill == 0 && (opts.Disk == "stall" || opts.Disk == "eio")
}

func perform(ctx context.Context, opts Options, began time.Time) (summary Summary, err error) {
	summary = Summary{Seed: opts.Seed, Voiced: -1, Spoken: -1}
	s := &stage{programs: process.Programs{Bin: opts.Bin, Logs: opts.Dir}, dir: opts.Dir, silent: opts.Sound == "none"}
	if err := s.prepare(ctx, opts); err != nil {
		return summary, err
	}
	if s.line, err = newLine(opts.Baud); err != nil {
		return summary, err
	}
	defer s.line.close()
	if opts.Sound == "capture" {
		if s.voice, err = newVoice(s.path("sound")); err != nil {
			return summary, err
		}
		defer s.voice.close()
	}
	defer func() { err = errors.Join(err, s.close()) }()
	table := newTable(opts.Log)
	if err := s.build(ctx, table.say); err != nil {
		return summary, err
	}
	table.say("화면 / screen: " + s.screen + "/   기술자 / technician: " + s.screen + "/technician")

	truth := newTruth()
	if err := s.play(ctx, opts, truth, table); err != nil {
		return summary, err
	}
	summary.Restarts = s.generation() - 1
	ctx = context.WithoutCancel(ctx) // ^C ends the scans; what follows is the point of the run
	table.say("동기화를 기다립니다 / waiting for the sync to finish")
	device, server, err := s.settle(ctx)
	if err != nil {
		return summary, err
	}
	table.say("역학조사 / inquiry: one order, two officers")
	list, err := s.inquire(ctx, began)
	if err != nil {
		return summary, err
	}
	v := truth.against(list)
	summary.Outcomes, summary.Scans = truth.counts(), truth.scans()
	summary.Green = len(truth.green)
	summary.Journalled, summary.Synced, summary.Stored = device.Head.Seq, server.journal.Last, server.stored
	summary.Lost, summary.Duplicated = v.lost, v.duplicated
	summary.LateGreen, summary.Opened = truth.lateGreen, v.opened
	summary.FalseGreen = truth.falseGreen + max(0, len(truth.green)-int(device.Head.Seq))
	summary.Traced, summary.Truth = v.traced, v.truth
	if v.strangers > 0 || int(server.stored) != v.traced {
		err = fmt.Errorf("%d traced visits are of strangers; %d visits stored, %d traced", v.strangers, server.stored, v.traced)
	}
	if refused := summary.Outcomes[visit.OutOfService.String()]; refused == 0 && opts.surelyRefuses() {
		err = errors.Join(err, fmt.Errorf("the disk's fault, %s, was felt by nobody", opts.Disk))
	}
	summary.Surprises = truth.wrong
	summary.Ledger = "ok"
	if e := CheckLedger(device, server.journal); e != nil {
		summary.Ledger = e.Error()
	}
	if s.voice != nil {
		var tones, words error
		summary.Voiced, tones = s.voice.heard(toneOfGreen, 0.1)
		summary.Spoken, words = s.voice.heard(wordsOfGreen, 60)
		err = errors.Join(err, tones, words)
	}
	return summary, err
}

// account is the server's side of a run.
type account struct {
	journal visitserver.JournalLedger
	stored  uint64
}

// settle waits until the server has taken everything, with the gate stopped, and returns both accounts.
func (s *stage) settle(ctx context.Context) (journal.Ledger, account, error) {
	device, err := s.drain(ctx)
	if err != nil {
		return journal.Ledger{}, account{}, err
	}
	server, err := s.ledger(ctx)
	if err != nil {
		return journal.Ledger{}, account{}, err
	}
	a := account{}
	for _, f := range server.Facilities {
		a.stored += f.Stored
	}
	for _, g := range server.Gates {
		for _, j := range g.Journals {
			a.journal = j
		}
		if len(g.Journals) != 1 {
			return journal.Ledger{}, account{}, fmt.Errorf("the gate kept %d journals, must be 1", len(g.Journals))
		}
	}
	return device, a, nil
}

// drain runs the gate until its journal holds nothing that waits, and stops it. The backlog the gate shows is up to a
// second old, so the journal itself is asked, and the gate started again if need be.
func (s *stage) drain(ctx context.Context) (journal.Ledger, error) {
	for began := time.Now(); ; {
		waiting, err := s.backlog(ctx)
		for ; (err != nil || waiting > 0) && time.Since(began) < drainWithin; waiting, err = s.backlog(ctx) {
			time.Sleep(200 * time.Millisecond)
		}
		s.mu.Lock()
		gate := s.gate
		s.gate = nil
		s.mu.Unlock()
		if err := gate.Stop(); err != nil {
			return journal.Ledger{}, fmt.Errorf("stopping the gate: %w", err)
		}
		device, err := journal.Contents(s.path("gate", "journal"))
		if err != nil {
			return journal.Ledger{}, err
		}
		pending := len(device.Pending.Records)
		if pending == 0 {
			return device, nil
		}
		if time.Since(began) > drainWithin {
			return journal.Ledger{}, fmt.Errorf("after %v, %d visits still wait on the gate", drainWithin, pending)
		}
		if err := s.startGate(ctx); err != nil {
			return journal.Ledger{}, err
		}
	}
}
