package main

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kipass/kipass/inquiry"
	"github.com/kipass/kipass/internal/authority"
	"github.com/kipass/kipass/internal/cli"
	"github.com/kipass/kipass/internal/cli/clitest"
	"github.com/kipass/kipass/internal/testkit"
	"github.com/kipass/kipass/protocol/auditlog"
	"github.com/kipass/kipass/protocol/day"
	"github.com/kipass/kipass/protocol/order"
	"github.com/kipass/kipass/protocol/visit"
)

// programs is where another party's program is built.
var programs string

func TestMain(m *testing.M) { os.Exit(runTests(m)) }

func runTests(m *testing.M) int {
	dir, err := os.MkdirTemp("", "kipass-programs-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	programs = dir
	return m.Run()
}

func TestConforms(t *testing.T) { clitest.Conforms(t, newProgram) }

func TestWholeInquiry(t *testing.T) {
	f := newFixture(t, "naver", "pass")
	kim := f.issuers["naver"].visitor(t, f.trust, "김철수", "010-1111-2222")
	lee := f.issuers["pass"].visitor(t, f.trust, "이영희", "010-3333-4444")
	park := f.issuers["naver"].visitor(t, f.trust, "박지성", "010-5555-6666")
	f.visits.scan(kim(), "hongdae-12", "door-1")
	f.visits.scan(lee(), "hongdae-12", "door-1")
	f.visits.scan(kim(), "hongdae-12", "door-2")
	f.visits.scan(park(), "gangnam-1", "door-1") // elsewhere
	stale := park()
	f.visits.add(order.Scan{ // never given out by the issuer it names
		At: stale.IssuedAt(), Facility: "hongdae-12", Gate: "door-1", Issuer: "pass", CTI: visit.CTI(stale.CTI()), Clock: visit.ClockSynced,
	})

	id, file := f.approved(t)
	o, s := f.run(t, file)
	if o.Status != statusPartial || !strings.Contains(o.Err, "codes that [pass] cannot open") {
		t.Errorf("status %d: %s", o.Status, o.Err)
	}
	if s.Complete || s.Order != id || s.Scans != 4 || s.Codes != 4 || s.Opened != 3 || s.Unopened != 1 || s.Contacts != 2 {
		t.Errorf("summary = %+v", s)
	}
	if n, p := s.Issuers["naver"], s.Issuers["pass"]; n != (inquiry.IssuerSummary{Codes: 2, Opened: 2}) || p != (inquiry.IssuerSummary{Codes: 2, Opened: 1, Unopened: 1}) {
		t.Errorf("by issuer: %+v", s.Issuers)
	}
	if got := strings.Join(s.LogEntries, " "); got != "visits#41 naver#4 pass#4 "+inquiry.AuditOrigin+"#6" {
		t.Errorf("logs = %s", got)
	}
	opened := kipassInquiry(t, "open", "--data", f.data, id)
	if opened.Status != statusPartial || !strings.Contains(opened.Err, "INCOMPLETE: issuer pass cannot open 1 codes") {
		t.Errorf("open: status %d: %s", opened.Status, opened.Err)
	}
	rows, err := csv.NewReader(strings.NewReader(opened.Out)).ReadAll()
	if err != nil || len(rows) != 3 {
		t.Fatalf("CSV has %d lines, %v", len(rows), err)
	}
	if got := fmt.Sprint(rows[1][:3], rows[1][5:], rows[2][:3], rows[2][5:]); got != "[김철수 +821011112222 naver] [2 door-1 door-2 ] [이영희 +821033334444 pass] [1 door-1 ]" {
		t.Errorf("contacts = %s", got)
	}
	var list inquiry.ContactList
	testkit.Check(t, json.Unmarshal([]byte(kipassInquiry(t, "open", "--data", f.data, "--format", "json", id).Out), &list))
	if list.Officer != "kim" || list.Approver != "lee" || list.Facility != "hongdae-12" || len(list.LogEntries) != 4 || len(list.Contacts) != 2 || len(list.Unknown) != 1 || len(list.Missing) != 0 {
		t.Errorf("list of %s approved by %s about %s, logs %v, %d contacts, %d unknown", list.Officer, list.Approver, list.Facility, list.LogEntries, len(list.Contacts), len(list.Unknown))
	}
	noNames(t, f, o, "김철수", "이영희", "박지성", "11112222", "33334444")

	// Anyone can audit every side, and a later state against an earlier checkpoint.
	key := succeed(t, "audit-key", "--data", f.data)
	succeed(t, "audit", "--audit-key", key, "--audit-log", filepath.Join(f.data, "audit"), "--save", f.path("kept"))
	issuerKey := kipassIssuer(t, "audit-key", "--data", f.path("naver"))
	entries := succeed(t, "audit", "--audit-key", issuerKey, "--url", f.issuers["naver"].url, "--ca", filepath.Join(f.path("naver"), "ca.pem"), "--list")
	if !strings.Contains(entries, id) || strings.Contains(entries, "hongdae") || strings.Contains(entries, "김철수") {
		t.Errorf("the issuer's published log: %s", entries)
	}

	succeed(t, "destroy", "--data", f.data, id)
	for _, again := range [][]string{{"open", "--data", f.data, id}, {"destroy", "--data", f.data, id}} {
		if o := kipassInquiry(t, again...); o.Status == 0 || o.Out != "" {
			t.Errorf("%s after destruction: status %d", again[0], o.Status)
		}
	}
	left, err := os.ReadDir(filepath.Join(f.data, "orders"))
	if err != nil || len(left) != 0 {
		t.Errorf("%d orders are left, %v", len(left), err)
	}
	log := succeed(t, "audit", "--audit-key", key, "--audit-log", filepath.Join(f.data, "audit"), "--since", f.path("kept"), "--list")
	kinds := []string{}
	for line := range strings.Lines(log) {
		var e struct{ Kind string }
		testkit.Check(t, json.Unmarshal([]byte(line), &e))
		kinds = append(kinds, e.Kind)
	}
	if got := strings.Join(kinds, " "); got != "register register register order order asked contacts opened opened destruction" {
		t.Errorf("the authority's log tells of %s", got)
	}
}

// noNames checks that no file of the authority's folder and no stream of the run shows a visitor.
func noNames(t *testing.T, f *fixture, o clitest.Result, names ...string) {
	t.Helper()
	shown := []string{o.Out, o.Err}
	for _, p := range f.issuers {
		shown = append(shown, p.stderr.String())
	}
	err := filepath.WalkDir(f.data, func(path string, d fs.DirEntry, err error) error {
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
	f := newFixture(t, "naver", "pass")
	f.visits.scan(f.issuers["naver"].visitor(t, f.trust, "김철수", "010-1111-2222")(), "hongdae-12", "door-1")
	f.visits.scan(f.issuers["pass"].visitor(t, f.trust, "이영희", "010-3333-4444")(), "hongdae-12", "door-1")
	f.issuers["pass"].kill()

	id, file := f.approved(t)
	o, s := f.run(t, file)
	if o.Status != statusPartial || s.Complete || s.Contacts != 1 || s.Issuers["pass"].Missing != 1 || s.Issuers["pass"].Error == "" {
		t.Errorf("status %d, summary %+v", o.Status, s)
	}
	opened := kipassInquiry(t, "open", "--data", f.data, id)
	if opened.Status != statusPartial || !strings.Contains(opened.Out, "김철수") || !strings.Contains(opened.Err, "INCOMPLETE: 1 codes of issuer pass") {
		t.Errorf("the partial list is opened with status %d and says %q", opened.Status, opened.Err)
	}

	address := strings.TrimPrefix(f.issuers["pass"].url, "https://")
	f.issuers["pass"] = startIssuer(t, f.path("pass"), address)
	o, s = f.run(t, file)
	done(t, o)
	if !s.Complete || s.Contacts != 2 || s.Opened != 2 {
		t.Errorf("resumed: %+v", s)
	}
	if f.visits.timesAsked() != 2 {
		t.Errorf("the visit server was asked %d times, want at each run", f.visits.timesAsked())
	}
	if got := strings.Join(s.LogEntries[:3], " "); got != "visits#41 naver#5 pass#4" {
		t.Errorf("logs = %s, want an entry of its own for each run", got)
	}
}

// The attack: whoever has copied a gate's key hands a code in once more, earlier and under another issuer's name. The true
// holder is found all the same, and the list tells of the other.
func TestACodeUnderAnotherIssuersNameHidesNobody(t *testing.T) {
	f := newFixture(t, "naver", "pass")
	code := f.issuers["naver"].visitor(t, f.trust, "김철수", "010-1111-2222")()
	f.visits.add(order.Scan{
		At: code.IssuedAt(), Facility: "hongdae-12", Gate: "door-1", Issuer: "pass", CTI: visit.CTI(code.CTI()),
		Clock: visit.ClockSynced, Flags: order.NewJournal | order.Late,
	})
	f.visits.scan(code, "hongdae-12", "door-1")
	id, file := f.approved(t)
	o, s := f.run(t, file)
	done(t, o)
	if s.Contacts != 1 || s.Codes != 2 || s.Opened != 1 || s.Unopened != 1 {
		t.Errorf("%d contacts of %d codes, %d opened, %d not; want 1 of 2, 1, 1", s.Contacts, s.Codes, s.Opened, s.Unopened)
	}
	var list inquiry.ContactList
	testkit.Check(t, json.Unmarshal([]byte(succeed(t, "open", "--data", f.data, "--format", "json", id)), &list))
	if len(list.Contacts) != 1 || list.Contacts[0].Phone != "+821011112222" || len(list.Contacts[0].Visits[0].Marks) != 0 {
		t.Errorf("%d contacts", len(list.Contacts))
	}
	if len(list.Unknown) != 1 || len(list.Unknown[0].Marks) != 2 {
		t.Errorf("the other record: %+v", list.Unknown)
	}
}

// A gate that was offline when the order was run: the list says so, and is whole once the gate has delivered.
func TestAGateThatHasNotDeliveredMakesAPartialList(t *testing.T) {
	f := newFixture(t, "naver")
	f.visits.scan(f.issuers["naver"].visitor(t, f.trust, "김철수", "010-1111-2222")(), "hongdae-12", "door-1")
	f.visits.gates = []order.GateState{
		{Gate: "door-2", Receipt: time.Now().Add(-time.Hour), Backlog: 7, Alerts: []string{"new-journal"}},
	}
	id, file := f.approved(t)
	o, s := f.run(t, file)
	if o.Status != statusPartial || s.Complete || s.Contacts != 1 || !strings.Contains(o.Err, "INCOMPLETE: 게이트 door-2") {
		t.Errorf("status %d, summary %+v, says %q", o.Status, s, o.Err)
	}
	opened := kipassInquiry(t, "open", "--data", f.data, id)
	if opened.Status != statusPartial || !strings.Contains(opened.Err, "gate door-2: not heard of since") || !strings.Contains(opened.Err, "CAUTION: gate door-2") {
		t.Errorf("opened with status %d, says %q", opened.Status, opened.Err)
	}
	back := time.Now().Add(2 * time.Minute)
	f.visits.gates = []order.GateState{{Gate: "door-2", Receipt: back, Delivered: back}}
	f.visits.scan(f.issuers["naver"].visitor(t, f.trust, "이영희", "010-3333-4444")(), "hongdae-12", "door-2")
	o, s = f.run(t, file)
	done(t, o)
	if !s.Complete || s.Contacts != 2 {
		t.Errorf("after it has delivered: %+v", s)
	}
	done(t, kipassInquiry(t, "open", "--data", f.data, id))
}

// The approving officer sees every field of the order, and who would get the answers by whose word.
func TestApprovalShowsAllThatIsApproved(t *testing.T) {
	f := newFixture(t)
	id := succeed(t, f.orderArgs("order.signed")...)
	shown := kipassInquiry(t, "approve", "--data", f.data, "--officer-key", f.path("lee.key"), "--yes",
		"--output", f.path("order.approved"), f.path("order.signed"))
	done(t, shown)
	trusted := f.visits.trusted
	o := testkit.Must(order.Verify(testkit.Must(os.ReadFile(f.path("order.approved")))(t), trusted, time.Now()))(t)
	seoul := func(t time.Time) string { return t.In(day.Seoul()).Format("2006-01-02 15:04:05 KST") }
	for what, want := range map[string]string{
		"number": "명령 번호 / order: " + id, "case": "사건 번호 / case: 2020-17", "officer": "명령한 담당관 / ordered by: kim",
		"purpose": "목적 / purpose: 접촉자 조사", "facility": "시설 / facility: hongdae-12",
		"window": seoul(o.From) + " – " + seoul(o.To), "issue": seoul(o.IssuedAt), "expiry": seoul(o.Expires),
		"recipient":   "답을 받을 키 / answers go to the key: " + o.Recipient.Recipient,
		"fingerprint": "그 키의 지문 / its fingerprint: " + o.Recipient.Fingerprint(),
		"certified by": fmt.Sprintf("그 키를 인증한 기관 / certified by: %s (root %v)",
			inquiry.DefaultName, order.KeyIDOf(trusted.Root)),
		"what leaves": "hongdae-12에서 찍힌 모든 방문",
	} {
		if !strings.Contains(shown.Err, want) {
			t.Errorf("%s: %q is not shown in\n%s", what, want, shown.Err)
		}
	}
	// Nobody can be shown an order whose recipient somebody else certified.
	other := newFixture(t)
	refused := kipassInquiry(t, "approve", "--data", other.data, "--officer-key", other.path("lee.key"), "--yes",
		"--output", other.path("x"), f.path("order.signed"))
	if refused.Status != cli.StatusFailed || strings.Contains(refused.Err, "목적") {
		t.Errorf("another authority's order: status %d, %s", refused.Status, refused.Err)
	}
}

// Free text may tell the place: neither an issuer nor anybody who reads a public log ever gets it.
func TestThePurposeReachesTheVisitServerAlone(t *testing.T) {
	const purpose = "서울 카페 방문자 MARKER"
	f := newFixture(t, "naver", "pass")
	f.visits.scan(f.issuers["naver"].visitor(t, f.trust, "김철수", "010-1111-2222")(), "hongdae-12", "door-1")
	f.visits.scan(f.issuers["pass"].visitor(t, f.trust, "이영희", "010-3333-4444")(), "hongdae-12", "door-1")
	f.record(t)
	args := f.orderArgs("order.signed")
	args[slices.Index(args, "--purpose")+1] = purpose
	id := succeed(t, args...)
	succeed(t, "approve", "--data", f.data, "--officer-key", f.path("lee.key"), "--yes", "--output", f.path("order.approved"), f.path("order.signed"))
	o, s := f.run(t, f.path("order.approved"))
	done(t, o)
	if s.Contacts != 2 {
		t.Fatalf("summary = %+v", s)
	}
	if list := succeed(t, "open", "--data", f.data, "--format", "json", id); !strings.Contains(list, purpose) {
		t.Error("the contact list does not say what it is for")
	}
	if !bytes.Contains(f.visits.received(), []byte(purpose)) {
		t.Error("the visit server is not told the purpose")
	}
	hidden := map[string][]byte{"the authority's log": testkit.Must(os.ReadFile(filepath.Join(f.data, "audit", auditlog.EntriesFile)))(t)}
	for name, p := range f.issuers {
		if len(p.received()) == 0 {
			t.Fatalf("%s received nothing", name)
		}
		hidden["what "+name+" received"] = p.received()
		hidden["the operator's log of "+name] = []byte(p.stderr.String())
		hidden["the public log of "+name] = []byte(succeed(t, "audit", "--audit-key", kipassIssuer(t, "audit-key", "--data", f.path(name)),
			"--url", p.url, "--ca", filepath.Join(f.path(name), "ca.pem"), "--list"))
		err := filepath.WalkDir(f.path(name), func(path string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				hidden[path], err = os.ReadFile(path)
			}
			return err
		})
		testkit.Check(t, err)
	}
	for where, b := range hidden {
		for _, told := range []string{purpose, "MARKER", "hongdae-12"} {
			if bytes.Contains(b, []byte(told)) && (told != "hongdae-12" || where != "the authority's log") {
				t.Errorf("%s holds %q", where, told)
			}
		}
	}
}

func TestProgramRefuses(t *testing.T) {
	f := newFixture(t)
	succeed(t, f.orderArgs("order.signed")...)
	approve := func(key, in string, more ...string) clitest.Result {
		return kipassInquiry(t, append(append([]string{"approve", "--data", f.data, "--officer-key", f.path(key), "--output", f.path("x.approved")}, more...), f.path(in))...)
	}
	line := succeed(t, "officer", "keygen", "--output", f.path("stranger.key"), "stranger")
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
		got    clitest.Result
		says   string
		status int
	}{
		"approval by the officer who signed":         {approve("kim.key", "order.signed", "--yes"), "another officer", cli.StatusFailed},
		"approval by a stranger":                     {approve("stranger.key", "order.signed", "--yes"), "no officer in the register", cli.StatusFailed},
		"approval without a yes":                     {approve("lee.key", "order.signed"), "not approved", cli.StatusFailed},
		"order with a key that is not the officer's": {kipassInquiry(t, swap(f.orderArgs("x"), "--officer-key", f.path("lee.key"))...), "signed by lee", cli.StatusFailed},
		"order about more than 14 days":              {kipassInquiry(t, swap(f.orderArgs("x"), "--from", long)...), "longer than", cli.StatusFailed},
		"order with a time nobody can read":          {kipassInquiry(t, swap(f.orderArgs("x"), "--to", "noon")...), `--to "noon": must be`, cli.StatusUsage},
		"order without a purpose":                    {kipassInquiry(t, swap(f.orderArgs("x"), "--purpose", "")...), "required flags missing: --purpose TEXT", cli.StatusUsage},
		"key file that is there":                     {kipassInquiry(t, "officer", "keygen", "--output", f.path("kim.key"), "kim"), "exists", cli.StatusFailed},
		"authority that is there":                    {kipassInquiry(t, "init", "--data", f.data), "has an authority already", cli.StatusFailed},
		"unknown command":                            {kipassInquiry(t, "delete"), "unknown command", cli.StatusUsage},
		"audit of no log":                            {kipassInquiry(t, "audit", "--audit-key", "x"), "give either --audit-log or --url", cli.StatusUsage},
		"audit of two logs":                          {kipassInquiry(t, "audit", "--audit-key", "x", "--audit-log", "x", "--url", "x"), "give either --audit-log or --url", cli.StatusUsage},
		"order id that is none":                      {kipassInquiry(t, "open", "--data", f.data, "../audit"), "32 hexadecimal digits", cli.StatusFailed},
	} {
		if tt.got.Status != tt.status || !strings.Contains(tt.got.Err, tt.says) {
			t.Errorf("%s: status %d, says %q, want %d, %q", name, tt.got.Status, tt.got.Err, tt.status, tt.says)
		}
	}
	if _, err := os.Stat(f.path("x.approved")); err == nil {
		t.Error("an approval was written")
	}
	// An order that is not approved gets nowhere.
	if o, _ := f.run(t, f.path("order.signed")); o.Status != 1 || f.visits.timesAsked() != 0 {
		t.Errorf("unapproved order: status %d, visit server asked %d times", o.Status, f.visits.timesAsked())
	}
}

func TestVisitServerUnderAnotherAuthorityIsNotAsked(t *testing.T) {
	f := newFixture(t)
	other := startVisitServer(t, f.visits.trusted)
	_, file := f.approved(t)
	// httptest's servers share one certificate; a foreign authority is one that signed neither.
	foreign := testkit.Must(authority.New("foreign", time.Now()))(t)
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: foreign.Cert.Raw})
	testkit.Check(t, os.WriteFile(f.path("visits-ca.pem"), ca, 0o644))
	f.visits = other
	if o, _ := f.run(t, file); o.Status != 1 || other.timesAsked() != 0 || !strings.Contains(o.Err, "certificate") {
		t.Errorf("status %d, asked %d times: %s", o.Status, other.timesAsked(), o.Err)
	}
}
