package main

import (
	"bufio"
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
	"github.com/kipass/kipass/internal/testkit"
	"github.com/kipass/kipass/internal/testkit/fakevisits"
	"github.com/kipass/kipass/protocol/token"
	"github.com/kipass/kipass/protocol/visit"
)

// fixture is one gate as a program, with a reader's line and a visit server.
type fixture struct {
	t      *testing.T
	scheme scheme
	server *fakevisits.Server
	line   *drivertest.Pty
	config configs.Gate
	log    *testkit.Buffer
	url    string // of the screen, once the gate is ready
	starts int    // how often it was
	stop   func() error
}

func newFixture(t *testing.T) *fixture {
	dir := t.TempDir()
	line, err := drivertest.OpenPty(filepath.Join(dir, "reader"))
	testkit.Check(t, err)
	t.Cleanup(func() { _ = line.Close() })
	scheme, list := newScheme(t)
	server, caFile := newServer(t, list)
	f := &fixture{t: t, scheme: scheme, server: server, line: line, log: &testkit.Buffer{}}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the gate's log:\n%s", f.log)
		}
	})
	f.config, err = configs.Parse(filepath.Join(dir, "gate.toml"), fmt.Appendf(nil, `version = 1
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
`, fakevisits.Facility, fakevisits.Gate, server.URL, caFile, fakevisits.Code, hex.EncodeToString(scheme.root), line.Path()))
	testkit.Check(t, err)
	return f
}

// start runs the gate and returns the lines it writes. stop ends it as SIGTERM does.
func (f *fixture) start() *bufio.Scanner {
	ctx, cancel := context.WithCancel(context.Background())
	r, w := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		err := Run(ctx, f.config, w, slog.New(slog.NewTextHandler(f.log, nil)))
		w.CloseWithError(err)
		ended <- err
	}()
	f.stop = sync.OnceValue(func() error {
		cancel()
		return testkit.Soon(f.t, "the gate's end", ended)
	})
	f.t.Cleanup(func() { _ = f.stop() })
	return bufio.NewScanner(r)
}

// ready waits until the gate serves and its reader is open: what a line holds from before is thrown away.
func (f *fixture) ready(out *bufio.Scanner) {
	f.t.Helper()
	if !out.Scan() {
		f.t.Fatalf("the gate ended: %v", out.Err())
	}
	url, ok := strings.CutPrefix(out.Text(), "ready ")
	if !ok {
		f.t.Fatalf("the gate wrote %q", out.Text())
	}
	f.url = strings.TrimSuffix(url, "/")
	f.starts++
	testkit.Eventually(f.t, "reader opened", func() bool { return f.log.Count("reader opened") == f.starts })
}

// shows tells whether the gate's metrics hold a line.
func (f *fixture) shows(line string) bool { return strings.Contains(f.metrics(), "\n"+line+"\n") }

// metrics returns the gate's metrics, nothing while they cannot be had.
func (f *fixture) metrics() string {
	resp, err := http.Get(f.url + "/metrics")
	if err != nil {
		return ""
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return ""
	}
	return string(text)
}

// outcomes returns how often presentations had an outcome since the gate's start.
func (f *fixture) outcomes(outcome visit.Outcome) (n int) {
	f.t.Helper()
	testkit.Eventually(f.t, "metrics", func() bool {
		_, text, found := strings.Cut(f.metrics(), fmt.Sprintf("\nkipass_gate_outcomes_total{outcome=%q} ", outcome))
		if found {
			_, err := fmt.Sscan(text, &n)
			testkit.Check(f.t, err)
		}
		return found
	})
	return n
}

// admit scans new codes until one is admitted, and returns it. On a machine that is busy with other things the first may
// be refused: the disk does not answer in time, or the code has expired before the gate comes to it.
func (f *fixture) admit() (code string) {
	f.t.Helper()
	for admitted := f.outcomes(visit.Admitted); f.outcomes(visit.Admitted) == admitted; {
		refused, expired, made := f.outcomes(visit.OutOfService), f.outcomes(visit.Expired), time.Now()
		code = f.scheme.code(0)
		f.scan(code)
		testkit.Eventually(f.t, "an outcome", func() bool {
			return f.outcomes(visit.Admitted) > admitted || f.outcomes(visit.OutOfService) > refused || f.outcomes(visit.Expired) > expired
		})
		if age := time.Since(made); f.outcomes(visit.Expired) > expired && age < token.Lifetime-time.Second { // iat is in seconds
			f.t.Fatalf("a code is refused as expired at %v", age)
		}
	}
	return code
}

func (f *fixture) scan(text string) {
	f.t.Helper()
	_, err := f.line.Write([]byte(text + "\r"))
	testkit.Check(f.t, err)
}

// A gate that is started for the first time enrols, admits, delivers, and ends well when asked to. Its log tells no code.
func TestRun(t *testing.T) {
	f := newFixture(t)
	f.ready(f.start())
	testkit.Eventually(f.t, "in service", func() bool { return f.shows("kipass_gate_in_service 1") })
	code, old, expired := f.admit(), f.scheme.code(time.Hour), f.outcomes(visit.Expired)
	f.scan("8801062518210")
	testkit.Eventually(f.t, "not a code", func() bool { return f.shows(`kipass_gate_outcomes_total{outcome="not-a-code"} 1`) })
	testkit.Eventually(f.t, "the server's time known", func() bool { return f.shows(`kipass_gate_clock_state{state="untrusted"} 0`) })
	f.scan(old)
	testkit.Eventually(f.t, "expired", func() bool { return f.outcomes(visit.Expired) == expired+1 })
	testkit.Eventually(f.t, "delivered", func() bool { return f.server.Counts().Visits > 0 && f.shows("kipass_gate_backlog_visits 0") })
	testkit.Check(t, f.stop())
	for _, secret := range []string{code, code[5:40], old[5:40], fakevisits.Code, "8801062518210"} {
		if strings.Contains(f.log.String(), secret) {
			t.Errorf("the log holds %q", secret)
		}
	}
	ledger, err := journal.Contents(filepath.Join(f.config.Place.State, "journal"))
	testkit.Check(t, err)
	if ledger.Head.Seq == 0 || ledger.Delivered != ledger.Head.Seq || ledger.Delivered != uint64(f.server.Counts().Visits) {
		t.Errorf("%d records, %d delivered, %d with the server: want all", ledger.Head.Seq, ledger.Delivered, f.server.Counts().Visits)
	}
}

// A code lets one person in, also when the gate was started anew meanwhile.
func TestRunRemembersUsedCodes(t *testing.T) {
	f := newFixture(t)
	f.config.Place.Runtime = testkit.MemoryDir(t)
	f.ready(f.start())
	testkit.Eventually(f.t, "in service", func() bool { return f.shows("kipass_gate_in_service 1") })
	code := f.admit()
	testkit.Check(t, f.stop())
	f.ready(f.start())
	f.scan(code)
	refused := func() int { return f.outcomes(visit.CodeUsed) + f.outcomes(visit.Expired) } // a slow machine may take 15 s
	testkit.Eventually(f.t, "the code refused", func() bool { return refused() == 1 })
	if f.outcomes(visit.Admitted) != 0 {
		t.Error("a used code was admitted after a restart")
	}
	testkit.Check(t, f.stop())
	f.config.Place.Runtime = "/proc/self"
	err := Run(t.Context(), f.config, io.Discard, slog.New(slog.DiscardHandler))
	if err == nil || !strings.Contains(err.Error(), "gate.runtime: ") {
		t.Errorf("a runtime folder on a disk: %v", err)
	}
}

func TestFoundRuntime(t *testing.T) {
	memory := testkit.MemoryDir(t)
	for rule, c := range map[string]struct{ made, shared, want string }{
		"what systemd made":                  {"/run/a", memory, "/run/a"},
		"the first of what systemd made":     {"/run/a:/run/b", memory, "/run/a"},
		"the shared folder":                  {"", memory, memory},
		"no shared folder on a disk":         {"", "/proc/self", ""},
		"no shared folder that is not there": {"", filepath.Join(memory, "none"), ""},
	} {
		if got := foundRuntime(c.made, c.shared); got != c.want {
			t.Errorf("%s: %q, want %q", rule, got, c.want)
		}
	}
}

// An enrolled gate needs no server: it serves, keeps, and delivers after its next start.
func TestRunWithoutAServer(t *testing.T) {
	f := newFixture(t)
	f.ready(f.start())
	testkit.Eventually(f.t, "in service", func() bool { return f.shows("kipass_gate_in_service 1") })
	testkit.Check(t, f.stop())
	online := f.config.Server.URL
	f.config.Server.URL = "https://127.0.0.1:1"
	f.ready(f.start())
	f.admit()
	testkit.Check(t, f.stop())
	if f.server.Counts().Visits != 0 {
		t.Fatal("delivered without a server")
	}
	f.config.Server.URL = online
	f.ready(f.start())
	testkit.Eventually(f.t, "delivered", func() bool { return f.server.Counts().Visits > 0 })
	testkit.Check(t, f.stop())
}

// A gate whose disk cannot be used at its start waits for it, says so, and can be ended meanwhile.
func TestRunWaitsForItsDisk(t *testing.T) {
	for rule, part := range map[string]string{"the folder itself": "", "the identity's folder": "identity", "the journal's folder": "journal"} {
		t.Run(rule, func(t *testing.T) {
			f := newFixture(t)
			path := filepath.Join(f.config.Place.State, part)
			testkit.Check(t, os.MkdirAll(filepath.Dir(path), 0o700))
			testkit.Check(t, os.WriteFile(path, nil, 0o600)) // where a folder should be
			f.start()
			testkit.Eventually(f.t, "the fault told", func() bool { return strings.Contains(f.log.String(), "code=journal-failed") })
			testkit.Check(t, f.stop())

			out := f.start()
			testkit.Eventually(f.t, "the fault told again", func() bool { return f.log.Count("code=journal-failed") == 2 })
			testkit.Check(t, os.Remove(path))
			f.ready(out)
			testkit.Eventually(f.t, "in service", func() bool { return f.shows("kipass_gate_in_service 1") })
			testkit.Check(t, f.stop())
		})
	}
}

// Two gates may not share one journal: the second says so and ends.
func TestRunRefusesAJournalInUse(t *testing.T) {
	f := newFixture(t)
	f.ready(f.start())
	err := Run(t.Context(), f.config, io.Discard, slog.New(slog.DiscardHandler))
	if err == nil || !strings.Contains(err.Error(), "in use by another process") {
		t.Errorf("%v", err)
	}
	testkit.Check(t, f.stop())
}

// A journal that failed takes the gate out of service, and its recovery puts it back without any visitor's help.
func TestRunRecoversWithItsDisk(t *testing.T) {
	f := newFixture(t)
	f.ready(f.start())
	testkit.Eventually(f.t, "in service", func() bool { return f.shows("kipass_gate_in_service 1") })
	f.admit()
	folder := filepath.Join(f.config.Place.State, "journal")
	testkit.Check(t, os.Rename(folder, folder+".away"))
	refused := f.outcomes(visit.OutOfService)
	f.scan(f.scheme.code(0))
	testkit.Eventually(f.t, "out of service", func() bool {
		return f.outcomes(visit.OutOfService) == refused+1 && f.shows("kipass_gate_in_service 0")
	})
	testkit.Check(t, os.Rename(folder+".away", folder))
	testkit.Eventually(f.t, "back in service", func() bool { return f.shows("kipass_gate_in_service 1") })
	f.admit()
	testkit.Check(t, f.stop())
}

// A gate whose only reader is gone does not ask for codes nobody would see.
func TestRunWithoutAReader(t *testing.T) {
	f := newFixture(t)
	f.ready(f.start())
	testkit.Eventually(f.t, "in service", func() bool { return f.shows("kipass_gate_in_service 1") })
	testkit.Check(t, f.line.Unplug(drivertest.Closed))
	testkit.Eventually(f.t, "out of service", func() bool { return f.shows("kipass_gate_in_service 0") })
	testkit.Check(t, f.line.Replug())
	testkit.Eventually(f.t, "back in service", func() bool { return f.shows("kipass_gate_in_service 1") })
	f.admit()
	testkit.Check(t, f.stop())
}
