package uplink

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kipass/kipass/internal/testkit"
	"github.com/kipass/kipass/internal/testkit/fakevisits"
	"github.com/kipass/kipass/internal/testkit/memnet"
	"github.com/kipass/kipass/protocol/visit"
	"github.com/kipass/kipass/protocol/wire"
)

// The visit server of all fixtures.
const (
	serverHost    = "visits.test"
	serverAddress = serverHost + ":443"
)

// bubble runs a test in synthetic time: its time-outs and back-offs take none, however busy the machine is.
func bubble(f func(t *testing.T)) func(*testing.T) {
	return func(t *testing.T) {
		t.Helper()
		synctest.Test(t, f)
	}
}

// fixture is a gate as far as its uplink sees it, and the visit server it talks to over a network in memory. It is the
// uplink's [Provisioner].
type fixture struct {
	t       testing.TB
	network *memnet.Network // nil: real sockets
	server  *fakevisits.Server
	journal *memoryJournal
	dir     string // of the identity
	logged  *testkit.Buffer
	log     *slog.Logger

	mu     sync.Mutex
	refuse error // of Provision
	taken  []wire.Provision
	times  []time.Time // heard of the server
	trust  uint64
	seal   visit.SealKeyID // held until a provision is taken; zero: the server's
}

// newFixture is called in a bubble. The server serves, and the gate is not enrolled.
func newFixture(t testing.TB, records int) *fixture {
	t.Helper()
	f := newFixtureOf(t, fakevisits.New(t), records)
	f.network = memnet.New()
	f.server.URL = &url.URL{Scheme: "https", Host: serverHost}
	f.server.Serve(f.listen(serverAddress), serverHost)
	return f
}

// newFixtureOf makes the gate of a server that is reached by real sockets.
func newFixtureOf(t testing.TB, server *fakevisits.Server, records int) *fixture {
	t.Helper()
	f := &fixture{t: t, server: server, journal: newMemoryJournal(records), dir: t.TempDir()}
	f.log, f.logged = testkit.NewLogger()
	f.journal.stored = func(r visit.Sealed) bool { return server.Visit(f.journal.id, r.Seq) != nil }
	return f
}

func (f *fixture) listen(address string) net.Listener {
	f.t.Helper()
	return testkit.Must(f.network.Listen(address))(f.t)
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	return testkit.Must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(t)
}

// enrolled puts an identity into the gate's folder.
func (f *fixture) enrolled() *fixture {
	f.t.Helper()
	id := f.identity()
	key := newKey(f.t)
	testkit.Check(f.t, id.enrol(key, f.server.Issue(fakevisits.Facility, fakevisits.Gate, key.Public())))
	testkit.Check(f.t, id.keepProvision(f.server.Provision()))
	f.trust = 1
	return f
}

// identity returns what is in the gate's folder.
func (f *fixture) identity() *Identity {
	f.t.Helper()
	return testkit.Must(OpenIdentity(f.dir))(f.t)
}

// serial returns the serial number of the certificate in the gate's folder.
func (f *fixture) serial() string {
	f.t.Helper()
	return serialOf(f.identity())
}

func serialOf(id *Identity) string { return id.certificate().Leaf.SerialNumber.String() }

// Holding implements [Provisioner].
func (f *fixture) Holding() (uint64, visit.SealKeyID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.trust == 0 {
		return 0, visit.SealKeyID{}
	}
	if f.seal != (visit.SealKeyID{}) {
		return f.trust, f.seal
	}
	return f.trust, f.server.SealKey.Public().ID()
}

// Provision implements [Provisioner].
func (f *fixture) Provision(p wire.Provision) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.refuse != nil {
		return f.refuse
	}
	f.taken, f.seal = append(f.taken, p), visit.SealKeyID{}
	f.trust = f.server.Trust()
	return nil
}

// asked makes the server note what it is asked for from now on, by the last part of each path, and returns what tells it.
func (f *fixture) asked() func() []string {
	var mu sync.Mutex
	var all []string
	f.server.SetFault(func(_ http.ResponseWriter, r *http.Request, _ []byte) bool {
		mu.Lock()
		defer mu.Unlock()
		all = append(all, strings.TrimPrefix(r.URL.Path, "/v1/terminal/"))
		return false
	})
	return func() []string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(all)
	}
}

// options of an uplink of this gate.
func (f *fixture) options() Options {
	f.t.Helper()
	opts := Options{
		Server: f.server.URL, CA: f.server.Pool, Facility: fakevisits.Facility, Gate: fakevisits.Gate, Code: fakevisits.Code,
		Identity: f.identity(), Source: f.journal, Provision: f,
		Heartbeat: func() wire.Heartbeat { return wire.Heartbeat{Version: "test", Backlog: uint64(f.journal.backlog())} },
		OnServerTime: func(at time.Time, rtt time.Duration) {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.times = append(f.times, at.Add(rtt/2))
		},
		Logger: f.log,
	}
	if f.network != nil {
		opts.Network.Dial = f.network.Dial
	}
	return opts
}

// uplink returns one whose every back-off is the minDelay. change may be nil.
func (f *fixture) uplink(change func(*Options)) *Uplink {
	f.t.Helper()
	opts := f.options()
	if change != nil {
		change(&opts)
	}
	opts.Network.Draw = func() float64 { return 0 }
	return testkit.Must(New(opts))(f.t)
}

// limit is how much synthetic time a run may take: all a test waits for comes within the longest back-off.
const limit = 2 * maxDelay

// run runs u until done, which is asked whenever nothing moves.
func (f *fixture) run(u *Uplink, done func() bool) {
	f.t.Helper()
	f.runFor(u, limit, done)
}

// runFor is run with a limit of its own.
func (f *fixture) runFor(u *Uplink, limit time.Duration, done func() bool) {
	f.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- u.Run(ctx) }()
	for start := time.Now(); ; time.Sleep(minDelay / 2) {
		synctest.Wait()
		if done() {
			break
		}
		if time.Since(start) > limit {
			f.t.Errorf("not done in %v: backlog %d, status %+v, log:\n%s", limit, f.journal.backlog(), u.Status(), f.logged)
			break
		}
	}
	cancel()
	testkit.Check(f.t, <-ended)
}

func (f *fixture) drained() bool { return f.journal.backlog() == 0 }

// checkLedger holds journal and server against each other: everything appended is at the server, once, with the same
// bytes, or in quarantine; nothing was let go of before the server had it; nothing else is at the server.
func (f *fixture) checkLedger() {
	f.t.Helper()
	f.journal.mu.Lock()
	defer f.journal.mu.Unlock()
	if n := len(f.journal.waiting); n != 0 {
		f.t.Errorf("%d records were not delivered", n)
	}
	if f.journal.early != 0 {
		f.t.Errorf("%d records were settled without the server having them", f.journal.early)
	}
	counts := f.server.Counts()
	if counts.Conflicts != 0 {
		f.t.Errorf("%d records arrived in two versions", counts.Conflicts)
	}
	want := 0
	for seq, data := range f.journal.appended {
		if _, refused := f.journal.quarantine[seq]; refused {
			continue
		}
		want++
		if !bytes.Equal(f.server.Visit(f.journal.id, seq), data) {
			f.t.Errorf("record %d is not at the server as it was appended", seq)
		}
	}
	if counts.Visits != want {
		f.t.Errorf("server holds %d records, want %d", counts.Visits, want)
	}
}
