package main

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kipass/kipass/inquiry"
	"github.com/kipass/kipass/internal/cli"
	"github.com/kipass/kipass/internal/cli/clitest"
	"github.com/kipass/kipass/protocol/order"
	"github.com/kipass/kipass/protocol/visit"
)

// The test binary is the program itself when this is set.
const asProgram = "KIPASS_INQUIRY_AS_PROGRAM"

// programs is where the other parties' programs are built.
var programs string

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		os.Exit(0)
	}
	os.Exit(runTests(m))
}

func runTests(m *testing.M) int {
	dir, err := os.MkdirTemp("", "kipass-programs-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	programs = dir
	build := exec.Command("go", "build", "-o", dir, "github.com/kipass/kipass/cmd/kipass-issuer", "github.com/kipass/kipass/cmd/kipass-scheme")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building the other parties' programs: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// outcome is what a program left behind.
type outcome struct {
	stdout, stderr string
	status         int
}

func execute(t *testing.T, cmd *exec.Cmd) outcome {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if _, exited := err.(*exec.ExitError); err != nil && !exited {
		t.Fatal(err)
	}
	return outcome{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

func kipassInquiry(t *testing.T, args ...string) outcome {
	t.Helper()
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), asProgram+"=1")
	return execute(t, cmd)
}

// must runs a program that has to succeed and returns its standard output.
func must(t *testing.T, o outcome) string {
	t.Helper()
	if o.status != 0 {
		t.Fatalf("exit status %d: %s", o.status, o.stderr)
	}
	return strings.TrimSpace(o.stdout)
}

func program(t *testing.T, name string, args ...string) outcome {
	t.Helper()
	return execute(t, exec.Command(filepath.Join(programs, name), args...))
}

func TestConforms(t *testing.T) { clitest.Conforms(t, newProgram) }

func TestWholeInquiry(t *testing.T) {
	w := newWorld(t, "naver", "pass")
	kim := w.issuers["naver"].visitor(t, w.trust, "김철수", "010-1111-2222")
	lee := w.issuers["pass"].visitor(t, w.trust, "이영희", "010-3333-4444")
	park := w.issuers["naver"].visitor(t, w.trust, "박지성", "010-5555-6666")
	w.visits.scan(kim(), "hongdae-12", "door-1")
	w.visits.scan(lee(), "hongdae-12", "door-1")
	w.visits.scan(kim(), "hongdae-12", "door-2")
	w.visits.scan(park(), "gangnam-1", "door-1") // elsewhere
	stale := park()
	w.visits.add(order.Scan{ // never given out by the issuer it names
		At: stale.IssuedAt(), Facility: "hongdae-12", Gate: "door-1", Issuer: "pass", CTI: visit.CTI(stale.CTI()),
	})

	id, file := w.approved(t)
	o, s := w.run(t, file)
	must(t, o)
	if !s.Complete || s.Order != id || s.Scans != 4 || s.Codes != 4 || s.Opened != 3 || s.Unopened != 1 || s.Contacts != 2 {
		t.Errorf("summary = %+v", s)
	}
	if n, p := s.Issuers["naver"], s.Issuers["pass"]; n != (inquiry.IssuerSummary{Codes: 2, Opened: 2}) || p != (inquiry.IssuerSummary{Codes: 2, Opened: 1, Unopened: 1}) {
		t.Errorf("by issuer: %+v", s.Issuers)
	}
	if got := strings.Join(s.LogEntries, " "); got != "visits#41 naver#0 pass#0 "+inquiry.AuditOrigin+"#2" {
		t.Errorf("logs = %s", got)
	}
	rows, err := csv.NewReader(strings.NewReader(must(t, kipassInquiry(t, "open", "--data", w.home, id)))).ReadAll()
	if err != nil || len(rows) != 3 {
		t.Fatalf("CSV has %d lines, %v", len(rows), err)
	}
	if got := fmt.Sprint(rows[1][:3], rows[1][5:], rows[2][:3], rows[2][5:]); got != "[김철수 +821011112222 naver] [2 door-1 door-2] [이영희 +821033334444 pass] [1 door-1]" {
		t.Errorf("contacts = %s", got)
	}
	var list inquiry.ContactList
	if err := json.Unmarshal([]byte(must(t, kipassInquiry(t, "open", "--data", w.home, "--format", "json", id))), &list); err != nil {
		t.Fatal(err)
	}
	if list.Officer != "kim" || list.Approver != "lee" || list.Facility != "hongdae-12" || len(list.LogEntries) != 4 || len(list.Contacts) != 2 || len(list.Unknown) != 1 || len(list.Missing) != 0 {
		t.Errorf("list of %s approved by %s about %s, logs %v, %d contacts, %d unknown", list.Officer, list.Approver, list.Facility, list.LogEntries, len(list.Contacts), len(list.Unknown))
	}
	noNames(t, w, o, "김철수", "이영희", "박지성", "11112222", "33334444")

	// Anyone can audit every side, and a later state against an earlier checkpoint.
	key := must(t, kipassInquiry(t, "audit-key", "--data", w.home))
	must(t, kipassInquiry(t, "audit", "--audit-key", key, "--audit-log", filepath.Join(w.home, "audit"), "--save", w.path("kept")))
	issuerKey := must(t, program(t, "kipass-issuer", "audit-key", "-data", w.path("naver")))
	entries := must(t, kipassInquiry(t, "audit", "--audit-key", issuerKey, "--url", w.issuers["naver"].url, "--ca", filepath.Join(w.path("naver"), "ca.pem"), "--list"))
	if !strings.Contains(entries, id) || strings.Contains(entries, "hongdae") || strings.Contains(entries, "김철수") {
		t.Errorf("the issuer's published log: %s", entries)
	}

	must(t, kipassInquiry(t, "destroy", "--data", w.home, id))
	for _, again := range [][]string{{"open", "--data", w.home, id}, {"destroy", "--data", w.home, id}} {
		if o := kipassInquiry(t, again...); o.status == 0 || o.stdout != "" {
			t.Errorf("%s after destruction: status %d", again[0], o.status)
		}
	}
	left, err := os.ReadDir(filepath.Join(w.home, "orders"))
	if err != nil || len(left) != 0 {
		t.Errorf("%d orders are left, %v", len(left), err)
	}
	log := must(t, kipassInquiry(t, "audit", "--audit-key", key, "--audit-log", filepath.Join(w.home, "audit"), "--since", w.path("kept"), "--list"))
	kinds := []string{}
	for line := range strings.Lines(log) {
		var e struct{ Kind string }
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatal(err)
		}
		kinds = append(kinds, e.Kind)
	}
	if got := strings.Join(kinds, " "); got != "order order contacts opened opened destruction" {
		t.Errorf("the authority's log tells of %s", got)
	}
}

// noNames checks that no file of the authority's folder and no stream of the run shows a visitor.
func noNames(t *testing.T, w *world, o outcome, names ...string) {
	t.Helper()
	shown := []string{o.stdout, o.stderr}
	for _, p := range w.issuers {
		shown = append(shown, p.stderr.String())
	}
	err := filepath.WalkDir(w.home, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		shown = append(shown, string(b))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range shown {
		for _, name := range names {
			if strings.Contains(text, name) {
				t.Errorf("%s is shown in the clear", name)
			}
		}
	}
}

func TestUnreachableIssuerGivesAPartialListThatIsResumed(t *testing.T) {
	w := newWorld(t, "naver", "pass")
	w.visits.scan(w.issuers["naver"].visitor(t, w.trust, "김철수", "010-1111-2222")(), "hongdae-12", "door-1")
	w.visits.scan(w.issuers["pass"].visitor(t, w.trust, "이영희", "010-3333-4444")(), "hongdae-12", "door-1")
	w.issuers["pass"].kill()

	id, file := w.approved(t)
	o, s := w.run(t, file)
	if o.status != statusPartial || s.Complete || s.Contacts != 1 || s.Issuers["pass"].Missing != 1 || s.Issuers["pass"].Error == "" {
		t.Errorf("status %d, summary %+v", o.status, s)
	}
	opened := kipassInquiry(t, "open", "--data", w.home, id)
	if !strings.Contains(must(t, opened), "김철수") || !strings.Contains(opened.stderr, "INCOMPLETE: 1 codes of issuer pass") {
		t.Errorf("the partial list says %q", opened.stderr)
	}

	address := strings.TrimPrefix(w.issuers["pass"].url, "https://")
	w.issuers["pass"] = startIssuer(t, w.path("pass"), "pass", address)
	o, s = w.run(t, file)
	must(t, o)
	if !s.Complete || s.Contacts != 2 || s.Opened != 2 {
		t.Errorf("resumed: %+v", s)
	}
	if w.visits.timesAsked() != 1 {
		t.Errorf("the visit server was asked %d times, want once", w.visits.timesAsked())
	}
	if got := strings.Join(s.LogEntries[:3], " "); got != "visits#41 naver#0 pass#0" {
		t.Errorf("logs = %s: an issuer that had answered was asked again", got)
	}
}

func TestProgramRefuses(t *testing.T) {
	w := newWorld(t, "naver")
	must(t, kipassInquiry(t, w.orderArgs("order.signed")...))
	approve := func(key, in string, more ...string) outcome {
		return kipassInquiry(t, append(append([]string{"approve", "--data", w.home, "--officer-key", w.path(key), "--output", w.path("x.approved")}, more...), w.path(in))...)
	}
	line := must(t, kipassInquiry(t, "officer", "keygen", "--output", w.path("stranger.key"), "stranger"))
	if !strings.HasPrefix(line, "stranger kipass-officer:") {
		t.Errorf("keygen prints %q", line)
	}
	swap := func(args []string, flag, value string) []string {
		args = append([]string{}, args...)
		for i := range args {
			if args[i] == flag {
				args[i+1] = value
			}
		}
		return args
	}
	long := time.Now().Add(-15 * 24 * time.Hour).Format(time.RFC3339)
	for name, tt := range map[string]struct {
		got    outcome
		says   string
		status int
	}{
		"approval by the officer who signed":         {approve("kim.key", "order.signed", "--yes"), "another officer", cli.StatusFailed},
		"approval by a stranger":                     {approve("stranger.key", "order.signed", "--yes"), "no officer in the register", cli.StatusFailed},
		"approval without a yes":                     {approve("lee.key", "order.signed"), "not approved", cli.StatusFailed},
		"order with a key that is not the officer's": {kipassInquiry(t, swap(w.orderArgs("x"), "--officer-key", w.path("lee.key"))...), "signed by lee", cli.StatusFailed},
		"order about more than 14 days":              {kipassInquiry(t, swap(w.orderArgs("x"), "--from", long)...), "longer than", cli.StatusFailed},
		"order with a time nobody can read":          {kipassInquiry(t, swap(w.orderArgs("x"), "--to", "noon")...), `--to "noon": must be`, cli.StatusUsage},
		"order without a purpose":                    {kipassInquiry(t, swap(w.orderArgs("x"), "--purpose", "")...), "required flags missing: --purpose TEXT", cli.StatusUsage},
		"key file that is there":                     {kipassInquiry(t, "officer", "keygen", "--output", w.path("kim.key"), "kim"), "exists", cli.StatusFailed},
		"authority that is there":                    {kipassInquiry(t, "init", "--data", w.home), "exists", cli.StatusFailed},
		"unknown command":                            {kipassInquiry(t, "delete"), "unknown command", cli.StatusUsage},
		"order id that is none":                      {kipassInquiry(t, "open", "--data", w.home, "../audit"), "32 hexadecimal digits", cli.StatusFailed},
	} {
		if tt.got.status != tt.status || !strings.Contains(tt.got.stderr, tt.says) {
			t.Errorf("%s: status %d, says %q, want %d, %q", name, tt.got.status, tt.got.stderr, tt.status, tt.says)
		}
	}
	if _, err := os.Stat(w.path("x.approved")); err == nil {
		t.Error("an approval was written")
	}
	// An order that is not approved gets nowhere.
	if o, _ := w.run(t, w.path("order.signed")); o.status != 1 || w.visits.timesAsked() != 0 {
		t.Errorf("unapproved order: status %d, visit server asked %d times", o.status, w.visits.timesAsked())
	}
}

func TestVisitServerUnderAnotherAuthorityIsNotAsked(t *testing.T) {
	w := newWorld(t, "naver")
	other := startVisitServer(t, w.visits.officers)
	_, file := w.approved(t)
	// httptest's servers share one certificate; a foreign authority is one that signed neither.
	must(t, program(t, "kipass-issuer", "init", "-data", w.path("foreign"), "-name", "foreign"))
	ca, err := os.ReadFile(filepath.Join(w.path("foreign"), "ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(w.path("visits-ca.pem"), ca, 0o644); err != nil {
		t.Fatal(err)
	}
	w.visits = other
	if o, _ := w.run(t, file); o.status != 1 || other.timesAsked() != 0 || !strings.Contains(o.stderr, "certificate") {
		t.Errorf("status %d, asked %d times: %s", o.status, other.timesAsked(), o.stderr)
	}
}
