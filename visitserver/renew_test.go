package visitserver

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/kipass/kipass/internal/testkit"
	"github.com/kipass/kipass/protocol/wire"
)

// renewedBy asks for a certificate as d and returns d with it.
func renewedBy(t *testing.T, d *gate) (*gate, error) {
	t.Helper()
	key, csr := newKeyAndCSR(t)
	e, err := renew(d.fx, d, csr)
	if err != nil {
		return nil, err
	}
	next := *d
	next.cert = tls.Certificate{Certificate: [][]byte{e.Certificate}, PrivateKey: key}
	next.client = d.fx.client(&next.cert)
	return &next, nil
}

func (fx *fixture) openAlerts() (alerts []string) {
	fx.t.Helper()
	var seen struct{ Alerts []Alert }
	fx.admin(&seen, "alert list")
	for _, a := range seen.Alerts {
		alerts = append(alerts, a.Alert)
	}
	return alerts
}

// Whoever has copied a gate's key renews as often as it likes and in whatever order: the gate itself is never shut out.
func TestRenewalsByACopyNeverShutTheGateOut(t *testing.T) {
	fx := newFixture(t)
	fx.facility("cafe")
	g := fx.gate("cafe", "door")
	g.one(0)
	fx.clock.Add(terminalLife * 3 / 5)
	copies := []*gate{g.thief()}
	for range 12 {
		for _, c := range copies {
			if next, err := renewedBy(t, c); err == nil {
				copies = append(copies, next)
			}
		}
	}
	if len(copies) != 2 {
		t.Errorf("a copy got %d certificates, want one more than the gate's", len(copies)-1)
	}
	if got := fx.openAlerts(); !slices.Contains(got, AlertRenewal) {
		t.Errorf("alerts %v, want one of the renewals", got)
	}
	g.journalled(newVisit(fx.clock.Now()))
	g.deliver()
}

func TestTwoDevicesWithOneKeyAreSeenByTheirCertificates(t *testing.T) {
	for rule, c := range map[string]struct {
		happens func(t *testing.T, fx *fixture, g *gate)
		want    []string
	}{
		"a gate renews and goes over": {func(t *testing.T, fx *fixture, g *gate) {
			next := testkit.Must(renewedBy(t, g))(t)
			next.left(0)
			g.left(0) // a request that was under way
			fx.clock.Add(time.Hour)
			next.left(0)
		}, nil},
		"a copy renews and the gate goes on": {func(t *testing.T, fx *fixture, g *gate) {
			copied := testkit.Must(renewedBy(t, g))(t)
			copied.left(0)
			fx.clock.Add(adopting + time.Second)
			g.left(0)
		}, []string{AlertCertificates}},
		"a copy renews, and the gate is offline until its own renewal": {func(t *testing.T, fx *fixture, g *gate) {
			testkit.Must(renewedBy(t, g))(t)
			if _, err := renewedBy(t, g); problem(err) != wire.CodeSuperseded {
				t.Errorf("the gate's renewal: %v", err)
			}
		}, []string{AlertRenewal}},
		"a device that was replaced": {func(t *testing.T, fx *fixture, g *gate) {
			testkit.Must(renewedBy(t, g))(t).left(0)
			fx.clock.Add(time.Minute)
			again := fx.gate("cafe", "door")
			fx.clock.Add(time.Hour)
			again.left(0)
		}, nil},
	} {
		t.Run(rule, func(t *testing.T) {
			fx := newFixture(t)
			fx.facility("cafe")
			g := fx.gate("cafe", "door")
			fx.clock.Add(terminalLife * 2 / 3)
			g.client = fx.client(&g.cert)
			c.happens(t, fx, g)
			if got := fx.openAlerts(); !slices.Equal(got, c.want) {
				t.Errorf("alerts %v, want %v", got, c.want)
			}
		})
	}
}

func TestARenewalWhoseAnswerWasLostIsAnsweredTheSame(t *testing.T) {
	fx := newFixture(t)
	fx.facility("cafe")
	g := fx.gate("cafe", "door")
	if _, err := renewedBy(t, g); problem(err) != wire.CodeBusy {
		t.Errorf("a renewal on the first day: %v", err)
	}
	_, csr := newKeyAndCSR(t)
	fx.clock.Add(terminalLife + time.Hour) // the gate was offline until after the end
	first := testkit.Must(renew(fx, g, csr))(t)
	for range 20 {
		fx.clock.Add(time.Hour)
		if e, err := renew(fx, g, csr); err != nil || !bytes.Equal(e.Certificate, first.Certificate) {
			t.Fatalf("asked again: %v", err)
		}
	}
	fx.restart()
	g.client = fx.client(&g.cert)
	if e, err := renew(fx, g, csr); err != nil || !bytes.Equal(e.Certificate, first.Certificate) {
		t.Errorf("asked again after a restart: %v", err)
	}
	if got := fx.openAlerts(); len(got) != 0 {
		t.Errorf("alerts %v, want none", got)
	}
}

func TestCertificatesLiveAsLongAsConfigured(t *testing.T) {
	const life = 48 * time.Hour
	fx := newFixture(t)
	fx.stop()
	fx.life = life
	fx.start()
	fx.facility("cafe")
	g := fx.gate("cafe", "door")
	for n := range 2 {
		if end := testkit.Must(x509.ParseCertificate(g.cert.Certificate[0]))(t).NotAfter; !end.Equal(fx.clock.Now().Add(life)) {
			t.Errorf("certificate %d ends at %v, it is %v", n, end, fx.clock.Now())
		}
		fx.clock.Add(life/2 - time.Hour)
		if _, err := renewedBy(t, g); problem(err) != wire.CodeBusy {
			t.Errorf("certificate %d is renewed before half of its life: %v", n, err)
		}
		fx.clock.Add(2 * time.Hour)
		g = testkit.Must(renewedBy(t, g))(t)
	}
}

// A server's clock is ahead by more than a certificate's life while what is known says otherwise, and is set right.
func TestCertificatesGoByTheTimeThatIsKnown(t *testing.T) {
	const wrong = terminalLife + 24*time.Hour
	fx := newFixture(t)
	fx.stop()
	fx.elapsed = func() time.Duration { return 0 }
	fx.start()
	fx.facility("cafe")
	old := fx.gate("cafe", "door")
	fx.clock.Add(wrong)
	right := func(g *gate) { // the gate's own clock is
		transport := g.client.Transport.(*http.Transport)
		transport.CloseIdleConnections()
		transport.TLSClientConfig.Time = func() time.Time { return noon }
	}
	right(old)
	old.left(0)
	if _, err := renewedBy(t, old); problem(err) != wire.CodeBusy {
		t.Errorf("a renewal on the first day: %v", err)
	}
	young := fx.gate("cafe", "yard")
	right(young)
	if leaf := testkit.Must(x509.ParseCertificate(young.cert.Certificate[0]))(t); leaf.NotBefore.After(noon) || leaf.NotAfter.After(noon.Add(terminalLife)) {
		t.Errorf("a gate's certificate is valid from %v to %v, it is %v", leaf.NotBefore, leaf.NotAfter, noon)
	}
	fx.clock.Add(-wrong)
	for _, g := range []*gate{old, young} {
		right(g)
		g.left(0)
	}
}

// A server that knows nothing of the time is believed, and its clock is set right later.
func TestACertificateOfALaterTimeIsRenewed(t *testing.T) {
	fx := newFixture(t)
	fx.stop()
	testkit.Check(t, os.Remove(fx.folder.path("keys", "clock")))
	fx.elapsed = func() time.Duration { return 0 }
	fx.clock.Add(terminalLife)
	fx.start()
	fx.facility("cafe")
	g := fx.gate("cafe", "door")
	fx.clock.Add(-terminalLife)
	g.client = fx.client(&g.cert)
	next := testkit.Must(renewedBy(t, g))(t)
	next.left(0)
	if leaf := testkit.Must(x509.ParseCertificate(next.cert.Certificate[0]))(t); leaf.NotBefore.After(noon) {
		t.Errorf("renewed, it is valid from %v, it is %v", leaf.NotBefore, noon)
	}
	if _, err := renewedBy(t, next); problem(err) != wire.CodeBusy {
		t.Errorf("renewed again at once: %v", err)
	}
}
