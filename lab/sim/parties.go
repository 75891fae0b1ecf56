package sim

import (
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kipass/kipass/inquiry"
	"github.com/kipass/kipass/internal/daykey"
	"github.com/kipass/kipass/issuer"
	"github.com/kipass/kipass/protocol/day"
	"github.com/kipass/kipass/protocol/order"
	"github.com/kipass/kipass/protocol/token"
)

// issuerParty is one issuer of codes.
type issuerParty struct {
	name       string
	dir        string
	about      token.Issuer    // as the trust list says it
	revoked    map[string]bool // keys, by their names
	rekeyed    time.Time       // when keys were last revoked
	clock      *wallClock
	space      issuerSpace
	spoilt     map[day.Day]bool // days of which something was damaged; true: something of it is lost for certain
	spoiltAt   time.Time        // when that last changed
	restoredAt time.Time        // when it last lost what came after a backup
	service    *issuer.Issuer
	handler    atomic.Pointer[http.Handler]
	stop       context.CancelFunc
	ended      sync.WaitGroup
}

func newIssuer(w *world, name string) (*issuerParty, error) {
	i := &issuerParty{
		name: name, dir: w.path("issuer-" + name), revoked: map[string]bool{}, clock: newWallClock(), spoilt: map[day.Day]bool{},
	}
	if err := issuer.Init(i.dir, "", issuer.About{Name: name, Hosts: []string{name}}, time.Now().Add(-w.opts.KeyAge)); err != nil {
		return nil, err
	}
	registers := issuer.Registers{Dir: i.dir, Now: i.clock.now}
	if err := registers.SetAuthorityRoot(w.authority.root); err != nil {
		return nil, err
	}
	for _, o := range w.authority.officers() {
		if err := registers.AddOfficer(o); err != nil {
			return nil, err
		}
	}
	var err error
	if i.about, err = issuer.Describe(i.dir, "https://"+name, i.clock.now()); err != nil {
		return nil, err
	}
	if err := i.open(w); err != nil {
		return nil, err
	}
	return i, i.service.ConfirmClock()
}

// open starts the issuer on what its folder holds.
func (i *issuerParty) open(w *world) (err error) {
	i.service, err = issuer.Open(i.dir, "", issuer.Options{
		Registrar: issuer.OpenRegistration{}, Now: i.clock.now, Elapsed: i.clock.running, Logger: w.log, Space: &i.space,
	})
	if err != nil {
		return err
	}
	handler := i.service.Handler()
	i.handler.Store(&handler)
	ctx, stop := context.WithCancel(context.Background())
	i.stop = stop
	i.ended.Go(func() {
		tick := time.NewTicker(lookSeldom)
		for n := 0; ; n++ {
			if n%checkSeldom == 0 && w.opts.Sabotage != blindIssuers {
				if err := i.service.CheckDays(); err != nil {
					w.log.Error("days cannot be checked for damage", "error", err)
				}
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				tick.Stop()
				return
			}
			if w.opts.Sabotage == lazyIssuers || w.opts.Sabotage == mutedOverdue {
				continue
			}
			if err := i.service.Destroy(); err != nil {
				w.log.Error("destroying days of codes", "error", err)
			}
		}
	})
	return nil
}

func (i *issuerParty) close() {
	i.handler.Store(nil)
	i.stop()
	i.ended.Wait()
	_ = i.service.Close()
}

// authorityParty is the health authority with two officers. Its clock is right.
type authorityParty struct {
	w    *world
	dir  string
	kept *inquiry.Authority
	root ed25519.PublicKey // certifies who gets answers
	keys []ed25519.PrivateKey
}

var officerNames = []string{"kim", "lee"}

func newAuthority(w *world) (*authorityParty, error) {
	a := &authorityParty{w: w, dir: w.path("authority")}
	for range officerNames {
		_, key, err := ed25519.GenerateKey(nil)
		if err != nil {
			return nil, err
		}
		a.keys = append(a.keys, key)
	}
	if err := inquiry.Init(a.dir, inquiry.DefaultName); err != nil {
		return nil, err
	}
	var err error
	if a.root, err = inquiry.RootKey(a.dir); err != nil {
		return nil, err
	}
	if a.kept, err = inquiry.Open(a.dir, time.Now); err != nil {
		return nil, err
	}
	for _, o := range a.officers() {
		if err := a.kept.AddOfficer(o); err != nil {
			return nil, err
		}
	}
	return a, nil
}

func (a *authorityParty) officers() (all []order.Officer) {
	for n, key := range a.keys {
		all = append(all, order.Officer{Name: officerNames[n], Public: key.Public().(ed25519.PublicKey)})
	}
	return all
}

func (a *authorityParty) close() { _ = a.kept.Close() }

// inquire asks who was at the facility in a window, as two officers would, and destroys the order when it has the list.
func (a *authorityParty) inquire(from, to time.Time) (inquiry.ContactList, inquiry.Summary, error) {
	w := a.w
	fail := func(err error) (inquiry.ContactList, inquiry.Summary, error) {
		return inquiry.ContactList{}, inquiry.Summary{}, err
	}
	id, signed, err := a.kept.Order(a.keys[0], inquiry.Request{
		Case: fmt.Sprintf("2000-%04d", w.report.Orders), Officer: officerNames[0], Purpose: "contact tracing",
		Facility: facility, From: from, To: to, Valid: 24 * time.Hour,
	})
	if err != nil {
		return fail(err)
	}
	w.report.Orders++
	approved, err := a.kept.Approve(a.keys[1], signed)
	if err != nil {
		return fail(err)
	}
	var sky weather
	var carry http.RoundTripper = &link{weather: &sky, handler: &w.visits.handler}
	if w.opts.TLS {
		carry = &http.Transport{
			DialContext: w.net.Dial, DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: w.visits.roots},
		}
	}
	summary, err := a.kept.Run(context.Background(), approved, inquiry.Config{
		Visits: inquiry.Endpoint{URL: "https://visits", Transport: carry},
		Issuers: func(name string) (inquiry.Endpoint, error) {
			for _, i := range w.issuers {
				if i.name == name {
					return inquiry.Endpoint{URL: "https://" + name, Transport: &link{weather: &sky, handler: &i.handler}}, nil
				}
			}
			return inquiry.Endpoint{}, errors.New("no such issuer")
		},
		Progress: func(string) {},
	})
	if err != nil && !errors.Is(err, inquiry.ErrPartial) { // what is missing is told in the summary
		return fail(err)
	}
	list, err := a.kept.Contacts(id)
	if err != nil {
		return fail(err)
	}
	return list, summary, a.kept.Destroy(id)
}

// days lists the days of which the issuer has codes.
func (i *issuerParty) days() []day.Day {
	days, err := daykey.Days(filepath.Join(i.dir, "days"), ".db")
	if err != nil {
		panic(err)
	}
	return days
}
