package chain

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/kipass/kipass/firmware/replay"
	"github.com/kipass/kipass/lab/internal/process"
	"github.com/kipass/kipass/visitserver"
)

const (
	facility = "seoul-cafe-1"
	gateName = "entrance"
)

// stage is the whole system on this machine, every party a process of its own in a folder of its own.
type stage struct {
	programs process.Programs
	dir      string
	line     *line
	voice    *voice // nil: the machine's own sound device
	silent   bool   // the gate has no voice
	network  *network
	issuers  []*issuerService
	visits   *process.Process
	others   []*process.Process
	runtime  string // the gate's folder in memory; empty where this machine has no tmpfs

	officerKeys   []string // public halves, in the order of officers
	authorityRoot string   // the health authority's public key, which certifies who gets answers
	root          string   // the scheme operator's public key
	screen        string   // URL of the visitor's screen, without the last slash

	clock    ClockFault // which clock is wrong; Party is empty for none
	controls *controls  // of the lab's own builds; nil: the programs are those that are shipped
	mounted  bool       // whether the gate's folder is a file system of its own
	troubled trouble    // with the gate's disk

	starting sync.Mutex // held while the gate is ended and started anew
	mu       sync.Mutex
	gate     *process.Process
	begun    int // how often the gate was begun to be started
	started  int // how often the gate was, with its reader open
}

var issuerNames = []struct{ name, display string }{{"naver", "네이버"}, {"pass", "패스"}}

// prepare makes what is to be broken.
func (s *stage) prepare(ctx context.Context, opts Options) (err error) {
	if s.clock, err = ParseClock(opts.Clock); err != nil {
		return err
	}
	if opts.Clock != "" || slices.Contains([]string{"slow", "stall", "eio"}, opts.Disk) {
		if err := s.labBuilt(ctx); err != nil {
			return err
		}
		s.controls = newControls(s)
		if err := s.setClock(s.clock); err != nil {
			return err
		}
	}
	if opts.Disk == "full" || opts.Disk == "readonly" {
		return s.mountDisk()
	}
	return nil
}

// build starts every party, in the order in which an operator would set them up.
func (s *stage) build(ctx context.Context, say func(string)) error {
	for _, step := range []struct {
		what string
		do   func(context.Context) error
	}{
		{"보건 당국 / health authority: keys of two officers", s.makeAuthority},
		{"발급회사 / issuers", s.startIssuers},
		{"방문 서버 / visit server", s.startVisits},
		{"신뢰 목록 / trust list, signed by the scheme operator", s.signTrust},
		{"시설과 게이트 / facility, gate, enrolment code", s.enrolGate},
		{"게이트 / gate", s.startGate},
	} {
		say(step.what)
		if err := step.do(ctx); err != nil {
			return fmt.Errorf("%s: %w", step.what, err)
		}
	}
	return nil
}

func (s *stage) path(parts ...string) string {
	return filepath.Join(append([]string{s.dir}, parts...)...)
}

// officers are the two who order and approve the inquiry.
var officers = []string{"kim", "lee"}

func (s *stage) makeAuthority(ctx context.Context) error {
	dir := s.path("authority")
	root, err := s.programs.Run(ctx, "kipass-inquiry", "init", "--data", dir)
	if err != nil {
		return err
	}
	s.authorityRoot = strings.TrimSpace(root)
	for _, officer := range officers {
		line, err := s.programs.Run(ctx, "kipass-inquiry", "officer", "keygen", "--output", s.path(officer+".key"), officer)
		if err != nil {
			return err
		}
		_, key, _ := strings.Cut(strings.TrimSpace(line), " ")
		s.officerKeys = append(s.officerKeys, key)
	}
	return s.tellOfficers(ctx, "kipass-inquiry", dir)
}

// tellAuthority registers both officers and the authority's root with a party that is asked.
func (s *stage) tellAuthority(ctx context.Context, program, dir string) error {
	if _, err := s.programs.Run(ctx, program, "authority-root", "--data", dir, s.authorityRoot); err != nil {
		return err
	}
	return s.tellOfficers(ctx, program, dir)
}

// tellOfficers registers both officers with one of the parties.
func (s *stage) tellOfficers(ctx context.Context, program, dir string) error {
	for i, officer := range officers {
		if _, err := s.programs.Run(ctx, program, "officer", "add", "--data", dir, officer, s.officerKeys[i]); err != nil {
			return err
		}
	}
	return nil
}

func (s *stage) startIssuers(ctx context.Context) error {
	for _, i := range issuerNames {
		dir := s.path("issuer-" + i.name)
		if _, err := s.programs.Run(ctx, "kipass-issuer", "init", "--data", dir, "--name", i.name, "--display", i.display); err != nil {
			return err
		}
		if err := s.tellAuthority(ctx, "kipass-issuer", dir); err != nil {
			return err
		}
		prog, address, err := s.programs.Start(ctx, "ready", nil, "kipass-issuer", "serve", "--data", dir, "--listen", "127.0.0.1:0", "--registration", "open")
		if err != nil {
			return err
		}
		s.others = append(s.others, prog)
		client, err := trusting(filepath.Join(dir, "ca.pem"))
		if err != nil {
			return err
		}
		s.issuers = append(s.issuers, &issuerService{name: i.name, url: address, client: client})
	}
	return nil
}

// trusting returns a client that trusts one certificate authority.
func trusting(ca string) (*http.Client, error) {
	pem, err := os.ReadFile(ca)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate", ca)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS13}}
	return &http.Client{Transport: transport, Timeout: 10 * time.Second}, nil
}

func (s *stage) startVisits(ctx context.Context) error {
	dir := s.path("visits")
	if _, err := s.programs.Run(ctx, "kipass-visits", "init", "--data", dir); err != nil {
		return err
	}
	prog, address, err := s.programs.Start(ctx, "ready", s.controls.env("visits"), "kipass-visits", "serve", "--data", dir, "--listen", "127.0.0.1:0")
	if err != nil {
		return err
	}
	s.visits = prog
	s.others = append(s.others, prog)
	u, err := url.Parse(address)
	if err != nil {
		return err
	}
	if s.network, err = newNetwork(u.Host); err != nil {
		return err
	}
	return s.tellAuthority(ctx, "kipass-visits", dir)
}

func (s *stage) visitsURL() string { return "https://" + s.network.server }

func (s *stage) signTrust(ctx context.Context) error {
	root, err := s.programs.Run(ctx, "kipass-scheme", "init", "--root-key", s.path("scheme.key"))
	if err != nil {
		return err
	}
	s.root = strings.TrimSpace(root)
	sign := []string{"sign", "--root-key", s.path("scheme.key"), "--list-version", "1", "--output", s.path("trust.list")}
	for i, issuer := range s.issuers {
		about, err := s.programs.Run(ctx, "kipass-issuer", "public-key", "--data", s.path("issuer-"+issuerNames[i].name), "--url", issuer.url)
		if err != nil {
			return err
		}
		file := s.path(issuer.name + ".json")
		if err := os.WriteFile(file, []byte(about), 0o600); err != nil {
			return err
		}
		sign = append(sign, file)
	}
	if _, err := s.programs.Run(ctx, "kipass-scheme", sign...); err != nil {
		return err
	}
	if _, err := s.programs.Run(ctx, "kipass-visits", "trust-root", "--data", s.path("visits"), s.root); err != nil {
		return err
	}
	_, err = s.programs.Run(ctx, "kipass-visits", "trust-list", "--data", s.path("visits"), s.path("trust.list"))
	return err
}

const gateConfig = `version = 1

[gate]
facility = %q
name = %q
state = %q
runtime = %q
language = "ko"
second_language = "en"

[server]
url = %q
ca = %q
enrolment_code = %q

[trust]
root = %q

[[reader]]
name = "front"
kind = "serial"
device = %q
baud = %d
idle_gap = %q

[journal]
free_floor = "1MiB"

[speaker]
enabled = %t

[screen]
listen = %q
`

func (s *stage) enrolGate(ctx context.Context) error {
	if _, err := s.programs.Run(ctx, "kipass-visits", "facility", "add", "--data", s.path("visits"), facility, "서울 카페"); err != nil {
		return err
	}
	raw, err := s.programs.Run(ctx, "kipass-visits", "terminal", "add", "--data", s.path("visits"), facility, gateName)
	if err != nil {
		return err
	}
	var terminal struct {
		Code string `json:"code"`
	}
	if err := json.Unmarshal([]byte(raw), &terminal); err != nil || terminal.Code == "" {
		return fmt.Errorf("no enrolment code in the answer of terminal add: %v", err)
	}
	if err := s.makeRuntime(); err != nil {
		return err
	}
	screen, err := freeAddress()
	if err != nil {
		return err
	}
	s.screen = "http://" + screen
	config := fmt.Sprintf(gateConfig, facility, gateName, s.path("gate"), s.runtime, "https://"+s.network.address,
		s.path("visits", "server-ca.pem"), terminal.Code, s.root, s.line.device, s.line.baud, idleGap, !s.silent, screen)
	return os.WriteFile(s.path("gate.toml"), []byte(config), 0o600)
}

// makeRuntime makes the gate's folder in memory, where systemd would make it on a gate.
func (s *stage) makeRuntime() (err error) {
	const memory = "/dev/shm"
	if replay.Volatile(memory) == nil {
		s.runtime, err = os.MkdirTemp(memory, "kipass-lab-")
	}
	return err
}

// freeAddress returns a loopback address nobody listens on. The gate keeps it over its restarts.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// ledger asks the visit server what it has taken from the gate's journals.
func (s *stage) ledger(ctx context.Context) (visitserver.Ledger, error) {
	var l visitserver.Ledger
	raw, err := s.programs.Run(ctx, "kipass-visits", "ledger", "--data", s.path("visits"))
	if err != nil {
		return l, err
	}
	return l, json.Unmarshal([]byte(raw), &l)
}

// close ends every process, the gate first.
func (s *stage) close() error {
	var errs []error
	if s.gate != nil {
		errs = append(errs, s.gate.Stop())
	}
	for _, p := range s.others {
		errs = append(errs, p.Stop())
	}
	if s.network != nil {
		s.network.close()
	}
	errs = append(errs, s.unmountDisk())
	if s.runtime != "" {
		errs = append(errs, os.RemoveAll(s.runtime))
	}
	return errors.Join(errs...)
}
