package chain

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/kipass/kipass/firmware/journal"
	"github.com/kipass/kipass/internal/testkit"
	"github.com/kipass/kipass/protocol/token"
	"github.com/kipass/kipass/protocol/visit"
	"github.com/kipass/kipass/protocol/wire"
	"github.com/kipass/kipass/uplink"
	"github.com/kipass/kipass/visitserver"
	"github.com/kipass/kipass/visitserver/store/embedded"
)

// restorable is a visit server on a folder, whose address stays when it is started again.
type restorable struct {
	t      *testing.T
	folder visitserver.Folder
	listen string
	stop   func()
}

func newRestorable(t *testing.T) *restorable {
	t.Helper()
	dir := testkit.Must(os.MkdirTemp("", "kv"))(t) // short, for the socket's path
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	s := &restorable{t: t, folder: visitserver.Folder{Dir: filepath.Join(dir, "now")}, listen: "127.0.0.1:0"}
	testkit.Check(t, s.folder.Init([]string{"127.0.0.1"}, time.Now()))
	s.start()
	root, private, err := ed25519.GenerateKey(nil)
	testkit.Check(t, err)
	list, err := token.SignTrustList(private, token.TrustList{Version: 1, IssuedAt: time.Now(), Expires: time.Now().Add(time.Hour)})
	testkit.Check(t, err)
	s.ask(nil, visitserver.AdminRequest{Command: "trust-root", Args: []string{hex.EncodeToString(root)}})
	s.ask(nil, visitserver.AdminRequest{Command: "trust-list", File: list})
	s.ask(nil, visitserver.AdminRequest{Command: "facility add", Args: []string{string(facility)}})
	return s
}

func (s *restorable) start() {
	s.t.Helper()
	store := testkit.Must(embedded.Open(s.folder.Visits(), embedded.Options{}))(s.t)
	public := testkit.Must(net.Listen("tcp", s.listen))(s.t)
	s.listen = public.Addr().String()
	_ = os.Remove(s.folder.Socket())
	config := visitserver.Config{
		Folder: s.folder, Secrets: testkit.Must(s.folder.Unlock())(s.t), Store: store, Public: public,
		Operator: testkit.Must(net.Listen("unix", s.folder.Socket()))(s.t), Heartbeat: time.Second,
	}
	ctx, cancel := context.WithCancel(context.Background())
	ready, ended := make(chan struct{}), make(chan error, 1)
	config.Ready = func() { close(ready) }
	go func() { ended <- errors.Join(visitserver.Run(ctx, config), store.Close()) }()
	select {
	case <-ready:
	case err := <-ended:
		s.t.Fatalf("the server did not start: %v", err)
	}
	s.stop = func() {
		cancel()
		testkit.Check(s.t, <-ended)
	}
}

// backup copies the server's folder, and restore puts the copy in its place; the server does not run meanwhile.
func (s *restorable) backup() {
	s.t.Helper()
	s.stop()
	testkit.Check(s.t, os.CopyFS(s.folder.Dir+"-backup", os.DirFS(s.folder.Dir)))
	s.start()
}

func (s *restorable) restore() {
	s.t.Helper()
	s.stop()
	testkit.Check(s.t, os.RemoveAll(s.folder.Dir))
	testkit.Check(s.t, os.CopyFS(s.folder.Dir, os.DirFS(s.folder.Dir+"-backup")))
	s.start()
}

func (s *restorable) ask(result any, req visitserver.AdminRequest) {
	s.t.Helper()
	raw := testkit.Must(s.folder.Admin(s.t.Context(), req))(s.t)
	if result != nil {
		testkit.Check(s.t, json.Unmarshal(raw, result))
	}
}

// delivering is a journal under an uplink: it seals to the key that the server provides, and tells of each settlement.
type delivering struct {
	*journal.Journal
	settled chan struct{}
}

func (d *delivering) Settle(s visit.Settlement) error {
	err := d.Journal.Settle(s)
	select {
	case d.settled <- struct{}{}:
	default:
	}
	return err
}

func (d *delivering) Holding() (uint64, visit.SealKeyID) { return 0, visit.SealKeyID{} }

func (d *delivering) Provision(p wire.Provision) error {
	key, err := visit.ParseSealPublicKey(p.SealKey)
	if err == nil {
		d.SetSealKey(key)
	}
	return err
}

func (d *delivering) heartbeat() wire.Heartbeat {
	st := d.Stats()
	return wire.Heartbeat{
		Version: "test", Clock: visit.ClockSynced.String(), Backlog: st.Backlog, Journal: st.Journal,
		Settled: st.Tail.Seq, Chain: st.Tail.Chain,
	}
}

func (d *delivering) append(t *testing.T, n int) {
	t.Helper()
	for range n {
		v := visit.Visit{At: time.Now().Truncate(time.Millisecond), Issuer: "naver", Clock: visit.ClockSynced}
		_, _ = rand.Read(v.CTI[:])
		_, err := d.Append(t.Context(), v)
		testkit.Check(t, err)
	}
}

// An operator puts back a backup that is older than what the server has acknowledged since. Every visit for which a light
// was green comes back, whether or not another visitor comes, and no alarm sounds: the account is whole again.
func TestARestoredServerLacksNothingGreen(t *testing.T) {
	for rule, arrive := range map[string]int{"with the next visitor": 3, "without any visitor": 0} {
		t.Run(rule, func(t *testing.T) {
			server := newRestorable(t)
			var terminal struct{ Code string }
			server.ask(&terminal, visitserver.AdminRequest{Command: "terminal add", Args: []string{string(facility), string(gateName)}})
			pool := x509.NewCertPool()
			pool.AppendCertsFromPEM(testkit.Must(os.ReadFile(filepath.Join(server.folder.Dir, "server-ca.pem")))(t))

			j := testkit.Must(journal.Open(journal.Options{Dir: t.TempDir(), Facility: facility, Gate: gateName, FreeFloor: 1}))(t)
			defer func() { testkit.Check(t, j.Close()) }()
			d := &delivering{Journal: j, settled: make(chan struct{}, 1)}
			link := testkit.Must(uplink.New(uplink.Options{
				Server: &url.URL{Scheme: "https", Host: server.listen}, CA: pool, Facility: facility, Gate: gateName, Code: terminal.Code,
				Identity: testkit.Must(uplink.OpenIdentity(t.TempDir()))(t), Source: d, Provision: d, Heartbeat: d.heartbeat,
				Logger: slog.New(slog.DiscardHandler), Network: uplink.Network{Draw: func() float64 { return 0 }},
			}))(t)
			_, err := link.Enrol(t.Context(), terminal.Code)
			testkit.Check(t, err)
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() { ended <- link.Run(ctx) }()
			defer func() { cancel(); testkit.Check(t, <-ended) }()

			account := func() visitserver.JournalLedger {
				var l visitserver.Ledger
				server.ask(&l, visitserver.AdminRequest{Command: "ledger"})
				if len(l.Gates) != 1 || len(l.Gates[0].Journals) != 1 {
					return visitserver.JournalLedger{}
				}
				return l.Gates[0].Journals[0]
			}
			arrived := func(n uint64) {
				t.Helper()
				for deadline := time.After(5 * time.Minute); account().Last < n || j.Stats().Backlog > 0; {
					select {
					case <-d.settled:
					case <-deadline:
						t.Fatalf("the server has taken %d of %d, status %+v", account().Last, n, link.Status())
					}
				}
			}
			d.append(t, 40)
			arrived(40)
			server.backup()
			d.append(t, 25)
			arrived(65)
			server.restore()
			if n := account().Last; n != 40 {
				t.Fatalf("the backup holds %d visits, want 40", n)
			}
			d.append(t, arrive)
			arrived(uint64(65 + arrive))
			device := testkit.Must(j.Ledger())(t)
			if err := CheckLedger(device, account()); err != nil {
				t.Error(err)
			}
			if got := account(); got.Stored != uint64(65+arrive) || len(got.Alerts) != 0 {
				t.Errorf("the server's account is %+v", got)
			}
		})
	}
}
