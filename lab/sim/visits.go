package sim

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kipass/kipass/internal/httpserver"
	"github.com/kipass/kipass/protocol/day"
	"github.com/kipass/kipass/protocol/order"
	"github.com/kipass/kipass/protocol/visit"
	"github.com/kipass/kipass/visitserver"
	"github.com/kipass/kipass/visitserver/store"
	"github.com/kipass/kipass/visitserver/store/embedded"
)

const (
	serverHost      = "visits"
	operatorAddress = "operator:80"
	storePath       = "/visits" // on the file system in memory
	// lookSeldom is how often gates and server tell each other that they live, and how often servers look for days to
	// destroy: less often than in earnest, for a run of two months has to end in seconds.
	lookSeldom = time.Hour
)

// visitParty is the visit server: its folder on a file system of the machine, its store on one in memory that forgets
// what was not synced when the power is cut.
type visitParty struct {
	w       *world
	folder  visitserver.Folder
	files   *vfs.MemFS
	clock   *wallClock
	handler atomic.Pointer[http.Handler]
	roots   *x509.CertPool // of its certificate

	mu      sync.Mutex
	cutIn   int  // operations of the store until the power is cut; 0: never
	dead    bool // the power was cut, and the server has not been started since
	started time.Time
	public  *cutListener
	cancel  context.CancelFunc
	ended   chan error
	rng     *rand.Rand // of what a cut leaves
}

func newVisits(w *world) (*visitParty, error) {
	v := &visitParty{
		w: w, folder: visitserver.Folder{Dir: w.path("visits"), Secrets: w.path("visits-secrets")}, files: vfs.NewCrashableMem(), clock: newWallClock(),
		rng: rand.New(rand.NewPCG(w.opts.Seed, 2)),
	}
	if err := v.folder.Init([]string{serverHost}, time.Now()); err != nil {
		return nil, err
	}
	ca, err := os.ReadFile(filepath.Join(v.folder.Dir, "server-ca.pem"))
	if err != nil {
		return nil, err
	}
	v.roots = x509.NewCertPool()
	v.roots.AppendCertsFromPEM(ca)
	if err := v.start(); err != nil {
		return nil, err
	}
	return v, v.provision()
}

// provision tells the server what its operator would.
func (v *visitParty) provision() error {
	list, err := v.w.scheme.sign(v.w.issuers)
	if err != nil {
		return err
	}
	for _, c := range []visitserver.AdminRequest{
		{Command: "facility add", Args: []string{facility}},
		{Command: "trust-root", Args: []string{v.w.scheme.public()}},
		{Command: "trust-list", File: list},
		{Command: "authority-root", Args: []string{order.FormatRoot(v.w.authority.root)}},
	} {
		if err := v.operate(c, nil); err != nil {
			return err
		}
	}
	for _, o := range v.w.authority.officers() {
		c := visitserver.AdminRequest{Command: "officer add", Args: []string{o.Name, order.FormatPublicKey(o.Public)}}
		if err := v.operate(c, nil); err != nil {
			return err
		}
	}
	return nil
}

// start starts the server on what its disks hold.
func (v *visitParty) start() error {
	secrets, err := v.folder.Unlock()
	if err != nil {
		return err
	}
	db, err := embedded.Open(storePath, embedded.Options{
		Cache: 1 << 20, FS: v.files, Logger: v.w.log, Tune: func(o *pebble.Options) {
			o.MemTableSize = 256 << 10
		},
	})
	if err != nil {
		return err
	}
	listener, err := v.w.net.Listen(serverHost + ":443")
	if err != nil {
		return err
	}
	public := &cutListener{Listener: listener}
	operator, err := v.w.net.Listen(operatorAddress)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	v.clock.boot()
	v.mu.Lock()
	v.public, v.started, v.dead, v.cancel, v.ended = public, time.Now(), false, cancel, make(chan error, 1)
	v.mu.Unlock()
	ready := make(chan struct{})
	wake := time.NewTicker(lookSeldom)
	v.w.sabotaged(noDestroyer, func() { wake.Reset(1000 * 24 * time.Hour) })
	config := visitserver.Config{
		Folder: v.folder, Secrets: secrets, Store: &cutStore{db, v}, Public: public, Operator: operator, Logger: v.w.log,
		Now: v.clock.now, Elapsed: v.clock.running, Ready: func() { close(ready) }, Heartbeat: lookSeldom,
		Wake: wake.C, TerminalLife: v.w.life,
	}
	if !v.w.opts.TLS {
		config.Serve = func(ctx context.Context, public http.Handler) error {
			v.handler.Store(&public)
			<-ctx.Done()
			v.handler.Store(nil)
			return nil
		}
	}
	go func() {
		defer wake.Stop()
		v.ended <- errors.Join(visitserver.Run(ctx, config), db.Close())
	}()
	v.w.report.Starts++
	select {
	case <-ready:
		v.w.troubles.note(serverOff, false, time.Now())
		return nil
	case err := <-v.ended:
		v.cancel = nil
		return fmt.Errorf("starting: %w", err)
	}
}

// stop ends the server as SIGTERM does.
func (v *visitParty) stop() {
	v.mu.Lock()
	cancel := v.cancel
	v.cancel = nil
	v.mu.Unlock()
	if cancel == nil {
		return
	}
	v.w.troubles.note(serverOff, true, time.Now())
	cancel()
	if err := <-v.ended; err != nil && !v.dead {
		v.w.violated("the visit server ended with %v", err)
	}
}

// off stops the server for a while.
func (v *visitParty) off(d time.Duration) {
	v.stop()
	time.Sleep(d)
	if v.dead { // its power was cut as it ended
		return
	}
	if err := v.start(); err != nil {
		v.w.violated("the visit server does not start again: %v", err)
	}
}

// cutPower takes an image of what the disks hold and lets nothing of the running server out any more. The server itself
// is left to end on its own disks, which nobody will see. Called in the midst of an operation of the store.
func (v *visitParty) cutPower() {
	image := v.w.path(fmt.Sprintf("visits-%d", v.w.report.Starts))
	if err := os.CopyFS(image, os.DirFS(v.folder.Dir)); err != nil {
		v.w.violated("taking an image of the server's folder: %v", err)
	}
	v.files = v.files.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: v.rng.IntN(101), RNG: v.rng})
	v.folder.Dir = image
	v.dead = true
	v.w.troubles.note(serverOff, true, time.Now())
	v.handler.Store(nil)
	v.public.cut()
}

// haste lets the server believe for a moment that all it has is old.
func (v *visitParty) haste() {
	v.clock.set(40*24*time.Hour, true)
	if err := v.operate(visitserver.AdminRequest{Command: "destroy", Args: []string{visitserver.ConfirmClock}}, nil); err != nil {
		v.w.trace("in haste: %v", err)
	}
	v.clock.set(0, true)
}

// afterCut clears away the server whose power was cut and starts another on the image; false if there was no cut.
func (v *visitParty) afterCut() (bool, error) {
	v.mu.Lock()
	dead := v.dead
	v.mu.Unlock()
	if !dead {
		return false, nil
	}
	v.stop()
	return true, v.start()
}

var errPowerCut = errors.New("the power was cut")

// cutStore is a store whose machine may lose its power at any operation: before it or after it.
type cutStore struct {
	store.Store
	v *visitParty
}

// around runs one operation that writes.
func (c *cutStore) around(do func() error) error {
	c.v.mu.Lock()
	if c.v.dead {
		c.v.mu.Unlock()
		return errPowerCut
	}
	hit := false
	if c.v.cutIn > 0 {
		c.v.cutIn--
		hit = c.v.cutIn == 0
	}
	if hit && c.v.rng.IntN(2) == 0 {
		c.v.cutPower()
		c.v.mu.Unlock()
		return errPowerCut
	}
	c.v.mu.Unlock()
	err := do()
	if hit {
		c.v.mu.Lock()
		c.v.cutPower()
		c.v.mu.Unlock()
		return errPowerCut
	}
	return err
}

func (c *cutStore) Put(
	ctx context.Context, f visit.Facility, d day.Day, rows []store.Row, account store.Account,
) (n int, err error) {
	if c.v.w.opts.Sabotage == stubbornStore {
		return 0, errPowerCut
	}
	if c.v.w.opts.Sabotage == forgetfulStore {
		return len(rows), nil
	}
	c.v.w.sabotaged(doubleStore, func() {
		for _, r := range rows {
			r.Blind[0]++
			_, _ = c.Store.Put(ctx, f, d, []store.Row{r}, nil)
		}
	})
	err = c.around(func() error { n, err = c.Store.Put(ctx, f, d, rows, account); return err })
	return n, err
}

func (c *cutStore) Swap(ctx context.Context, changes ...store.Change) error {
	return c.around(func() error { return c.Store.Swap(ctx, changes...) })
}

func (c *cutStore) Retire(ctx context.Context, d day.Day) (t store.Tally, err error) {
	err = c.around(func() error { t, err = c.Store.Retire(ctx, d); return err })
	return t, err
}

func (c *cutStore) Drop(ctx context.Context, d day.Day) error {
	return c.around(func() error { return c.Store.Drop(ctx, d) })
}

// operate runs a command of the server's operator, who repeats it when the server lost its power meanwhile, and decodes its
// result.
func (v *visitParty) operate(c visitserver.AdminRequest, result any) error {
	err := v.command(c, result)
	if err == nil {
		return nil
	}
	if cut, starting := v.w.tendVisits(); !cut || starting != nil {
		return errors.Join(err, starting)
	}
	return v.command(c, result)
}

// command sends an operator's command once.
func (v *visitParty) command(c visitserver.AdminRequest, result any) error {
	b, err := json.Marshal(c)
	if err != nil {
		return err
	}
	client := &http.Client{Transport: &http.Transport{DialContext: v.w.net.Dial, DisableKeepAlives: true}}
	resp, err := client.Post("http://"+operatorAddress+"/", httpserver.TypeJSON, bytes.NewReader(b))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", c.Command, answer)
	}
	if err != nil || result == nil {
		return err
	}
	return json.Unmarshal(answer, result)
}

func (v *visitParty) ledger() (l visitserver.Ledger, err error) {
	return l, v.operate(visitserver.AdminRequest{Command: "ledger"}, &l)
}

// days lists the days of which there are visits in the store.
func (v *visitParty) days() (all []day.Day) {
	names, err := v.files.List(storePath + "/days")
	if err != nil {
		v.w.violated("the visit server's store: %v", err)
	}
	for _, name := range names {
		if d, err := day.Parse(name); err == nil {
			all = append(all, d)
		}
	}
	return all
}
