package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kipass/kipass/configs"
	"github.com/kipass/kipass/drivers/drivertest"
	"github.com/kipass/kipass/firmware/journal"
)

// within is how long a test waits for what must happen; far more than it takes.
const within = 30 * time.Second

// bench is one gate as a program, with a reader's line and a visit server.
type bench struct {
	t       *testing.T
	central *central
	line    *drivertest.Pty
	config  configs.Gate
	log     *lockedBuffer
	url     string // of the screen, once the gate is ready
	starts  int    // how often it was
	stop    func() error
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func newBench(t *testing.T) *bench {
	dir := t.TempDir()
	line, err := drivertest.OpenPty(filepath.Join(dir, "reader"))
	check(t, err)
	t.Cleanup(func() { _ = line.Close() })
	b := &bench{t: t, central: newCentral(t), line: line, log: &lockedBuffer{}}
	b.config, err = configs.Parse(filepath.Join(dir, "gate.toml"), fmt.Appendf(nil, `version = 1
[gate]
facility = %q
name = %q
state = "state"
[server]
url = %q
ca = %q
enrolment_code = %q
[trust]
root = %q
[journal]
free_floor = "1MiB"
[[reader]]
name = "front"
device = %q
[speaker]
enabled = false
[screen]
listen = "127.0.0.1:0"
`, facility, gateName, b.central.url, b.central.caFile(dir), oneTime, hex.EncodeToString(b.central.root), line.Path()))
	check(t, err)
	return b
}

// start runs the gate and returns the lines it writes. stop ends it as SIGTERM does.
func (b *bench) start() *bufio.Scanner {
	ctx, cancel := context.WithCancel(context.Background())
	r, w := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		err := Run(ctx, b.config, w, slog.New(slog.NewTextHandler(b.log, nil)))
		w.CloseWithError(err)
		ended <- err
	}()
	b.stop = sync.OnceValue(func() error {
		cancel()
		select {
		case err := <-ended:
			return err
		case <-time.After(within):
			return fmt.Errorf("the gate did not end; log:\n%s", b.log)
		}
	})
	b.t.Cleanup(func() { _ = b.stop() })
	return bufio.NewScanner(r)
}

// ready waits until the gate serves and its reader is open: what a line holds from before is thrown away.
func (b *bench) ready(out *bufio.Scanner) {
	b.t.Helper()
	if !out.Scan() {
		b.t.Fatalf("the gate ended: %v", out.Err())
	}
	url, ok := strings.CutPrefix(out.Text(), "ready ")
	if !ok {
		b.t.Fatalf("the gate wrote %q", out.Text())
	}
	b.url = strings.TrimSuffix(url, "/")
	b.starts++
	b.eventually("reader opened", func() bool { return strings.Count(b.log.String(), "reader opened") == b.starts })
}

// eventually waits until something holds.
func (b *bench) eventually(what string, holds func() bool) {
	b.t.Helper()
	for deadline := time.Now().Add(within); !holds(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			b.t.Fatalf("%s: not within %v; log:\n%s", what, within, b.log)
		}
	}
}

// shows tells whether the gate's metrics hold a line.
func (b *bench) shows(line string) bool {
	resp, err := http.Get(b.url + "/metrics")
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return err == nil && strings.Contains(string(text), "\n"+line+"\n")
}

func (b *bench) scan(text string) {
	b.t.Helper()
	_, err := b.line.Write([]byte(text + "\r"))
	check(b.t, err)
}

// A gate that is started for the first time enrols, admits, delivers, and ends well when asked to. Its log tells no code.
func TestRun(t *testing.T) {
	b := newBench(t)
	b.ready(b.start())
	b.eventually("in service", func() bool { return b.shows("kipass_gate_in_service 1") })
	code, old := b.central.code(0), b.central.code(time.Hour)
	b.scan(code)
	b.eventually("admitted", func() bool { return b.shows(`kipass_gate_outcomes_total{outcome="admitted"} 1`) })
	b.scan("8801062518210")
	b.eventually("not a code", func() bool { return b.shows(`kipass_gate_outcomes_total{outcome="not-a-code"} 1`) })
	b.eventually("the server's time known", func() bool { return b.shows(`kipass_gate_clock_state{state="untrusted"} 0`) })
	b.scan(old)
	b.eventually("expired", func() bool { return b.shows(`kipass_gate_outcomes_total{outcome="expired"} 1`) })
	b.eventually("delivered", func() bool { return b.central.holds() == 1 && b.shows("kipass_gate_backlog_visits 0") })
	check(t, b.stop())
	for _, secret := range []string{code, code[5:40], old[5:40], oneTime, "8801062518210"} {
		if strings.Contains(b.log.String(), secret) {
			t.Errorf("the log holds %q", secret)
		}
	}
	ledger, err := journal.Contents(filepath.Join(b.config.Place.State, "journal"))
	check(t, err)
	if ledger.Head.Seq != 1 || ledger.Delivered != 1 {
		t.Errorf("%d records, %d delivered, want 1", ledger.Head.Seq, ledger.Delivered)
	}
}

// An enrolled gate needs no server: it serves, keeps, and delivers after its next start.
func TestRunWithoutAServer(t *testing.T) {
	b := newBench(t)
	b.ready(b.start())
	b.eventually("in service", func() bool { return b.shows("kipass_gate_in_service 1") })
	check(t, b.stop())
	online := b.config.Server.URL
	b.config.Server.URL = "https://127.0.0.1:1"
	b.ready(b.start())
	b.scan(b.central.code(0))
	b.eventually("admitted", func() bool { return b.shows(`kipass_gate_outcomes_total{outcome="admitted"} 1`) })
	check(t, b.stop())
	if b.central.holds() != 0 {
		t.Fatal("delivered without a server")
	}
	b.config.Server.URL = online
	b.ready(b.start())
	b.eventually("delivered", func() bool { return b.central.holds() == 1 })
	check(t, b.stop())
}

// A gate whose disk cannot be used at its start waits for it, says so, and can be ended meanwhile.
func TestRunWaitsForItsDisk(t *testing.T) {
	for rule, part := range map[string]string{"the folder itself": "", "the identity's folder": "identity", "the journal's folder": "journal"} {
		t.Run(rule, func(t *testing.T) {
			b := newBench(t)
			path := filepath.Join(b.config.Place.State, part)
			check(t, os.MkdirAll(filepath.Dir(path), 0o700))
			check(t, os.WriteFile(path, nil, 0o600)) // where a folder should be
			b.start()
			b.eventually("the fault told", func() bool { return strings.Contains(b.log.String(), "code=journal-failed") })
			check(t, b.stop())

			out := b.start()
			b.eventually("the fault told again", func() bool { return strings.Count(b.log.String(), "code=journal-failed") == 2 })
			check(t, os.Remove(path))
			b.ready(out)
			b.eventually("in service", func() bool { return b.shows("kipass_gate_in_service 1") })
			check(t, b.stop())
		})
	}
}

// Two gates may not share one journal: the second says so and ends.
func TestRunRefusesAJournalInUse(t *testing.T) {
	b := newBench(t)
	b.ready(b.start())
	err := Run(t.Context(), b.config, io.Discard, slog.New(slog.DiscardHandler))
	if err == nil || !strings.Contains(err.Error(), "in use by another process") {
		t.Errorf("%v", err)
	}
	check(t, b.stop())
}

// A journal that failed takes the gate out of service, and its recovery puts it back without any visitor's help.
func TestRunRecoversWithItsDisk(t *testing.T) {
	b := newBench(t)
	b.ready(b.start())
	b.eventually("in service", func() bool { return b.shows("kipass_gate_in_service 1") })
	b.scan(b.central.code(0))
	b.eventually("admitted", func() bool { return b.shows(`kipass_gate_outcomes_total{outcome="admitted"} 1`) })
	folder := filepath.Join(b.config.Place.State, "journal")
	check(t, os.Rename(folder, folder+".away"))
	b.scan(b.central.code(0))
	b.eventually("out of service", func() bool {
		return b.shows(`kipass_gate_outcomes_total{outcome="out-of-service"} 1`) && b.shows("kipass_gate_in_service 0")
	})
	check(t, os.Rename(folder+".away", folder))
	b.eventually("back in service", func() bool { return b.shows("kipass_gate_in_service 1") })
	b.scan(b.central.code(0))
	b.eventually("admitted", func() bool { return b.shows(`kipass_gate_outcomes_total{outcome="admitted"} 2`) })
	check(t, b.stop())
}

// A gate whose only reader is gone does not ask for codes nobody would see.
func TestRunWithoutAReader(t *testing.T) {
	b := newBench(t)
	b.ready(b.start())
	b.eventually("in service", func() bool { return b.shows("kipass_gate_in_service 1") })
	check(t, b.line.Unplug(drivertest.Closed))
	b.eventually("out of service", func() bool { return b.shows("kipass_gate_in_service 0") })
	check(t, b.line.Replug())
	b.eventually("back in service", func() bool { return b.shows("kipass_gate_in_service 1") })
	b.scan(b.central.code(0))
	b.eventually("admitted", func() bool { return b.shows(`kipass_gate_outcomes_total{outcome="admitted"} 1`) })
	check(t, b.stop())
}
