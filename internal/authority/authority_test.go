package authority

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"testing"
	"time"

	"github.com/kipass/kipass/internal/testkit"
)

var noon = time.Date(2020, 7, 1, 3, 0, 0, 0, time.UTC)

func made(t *testing.T) CA {
	t.Helper()
	a := testkit.Must(New("kipass test", noon))(t)
	return a
}

// TestWhoTrustsTheAuthorityReachesItsServer shakes hands over TCP under every host, at several times.
func TestWhoTrustsTheAuthorityReachesItsServer(t *testing.T) {
	a := made(t)
	now := noon
	s := testkit.Must(a.ServerCertificate([]string{"visits.test", "127.0.0.1", "::1"}, ByOne(func() time.Time { return now })))(t)
	listener := testkit.Must(tls.Listen("tcp", "127.0.0.1:0", &tls.Config{MinVersion: tls.VersionTLS13, GetCertificate: s.Get}))(t)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			_ = c.(*tls.Conn).Handshake() // the client's side is looked at
			_ = c.Close()
		}
	}()
	defer func() { listener.Close(); <-ended }()
	for _, c := range []struct {
		rule   string
		root   CA
		host   string
		at     time.Duration // server's time after noon
		client time.Duration // client's clock is ahead of it by
		ok     bool
	}{
		{"a name", a, "visits.test", 0, 0, true},
		{"an IPv4 address", a, "127.0.0.1", 0, 0, true},
		{"an IPv6 address", a, "::1", 0, 0, true},
		{"a clock that lags", a, "visits.test", 0, -59 * time.Minute, true},
		{"a clock a month ahead", a, "visits.test", 0, 720 * time.Hour, true},
		{"ten years later", a, "visits.test", 87600 * time.Hour, 0, true},
		{"another name", a, "issuer.test", 0, 0, false},
		{"another authority", made(t), "visits.test", 0, 0, false},
		{"a client of another century", a, "visits.test", 0, 876000 * time.Hour, false},
	} {
		now = noon.Add(c.at)
		pool := x509.NewCertPool()
		pool.AddCert(c.root.Cert)
		raw := testkit.Must(net.Dial("tcp", listener.Addr().String()))(t)
		conn := tls.Client(raw, &tls.Config{RootCAs: pool, ServerName: c.host, Time: func() time.Time { return now.Add(c.client) }})
		if err := conn.Handshake(); (err == nil) != c.ok {
			t.Errorf("%s: %v", c.rule, err)
		}
		_, _ = io.Copy(io.Discard, conn) // until the server has closed: now is not written while it reads
		_ = conn.Close()
	}
}

func TestCertificateIsRenewedInTime(t *testing.T) {
	a := made(t)
	now := noon
	s := testkit.Must(a.ServerCertificate([]string{"visits.test"}, ByOne(func() time.Time { return now })))(t)
	serial := func() string {
		t.Helper()
		c := testkit.Must(s.Get(nil))(t)
		return c.Leaf.SerialNumber.String()
	}
	first := serial()
	now = noon.Add(ServerLife - serverRenew - time.Second)
	if serial() != first {
		t.Error("renewed early")
	}
	now = noon.Add(ServerLife - serverRenew)
	second := serial()
	if second == first {
		t.Error("not renewed")
	}
	if serial() != second {
		t.Error("renewed twice")
	}
	if _, err := a.ServerCertificate(nil, ByOne(time.Now)); err == nil {
		t.Error("a server without a host was taken")
	}
}

// A server's clock is ahead or behind for a while, alone or against what is known otherwise: whoever has the right time
// reaches the server then and afterwards.
func TestCertificateIsValidAtEachTimeThatItMayBe(t *testing.T) {
	const wrong = 20 * 365 * 24 * time.Hour
	for rule, then := range map[string]struct{ earliest, latest time.Duration }{
		"ahead, and nothing else is known":  {wrong, wrong},
		"ahead by minutes":                  {2 * slack, 2 * slack},
		"ahead of what is known":            {0, wrong},
		"behind, and nothing else is known": {-wrong, -wrong},
		"behind what is known":              {-wrong, 0},
	} {
		t.Run(rule, func(t *testing.T) {
			earliest, latest := noon.Add(then.earliest), noon.Add(then.latest)
			s := testkit.Must(made(t).ServerCertificate([]string{"visits.test"}, func() (time.Time, time.Time) { return earliest, latest }))(t)
			valid := func(from, to time.Time) string {
				t.Helper()
				leaf := testkit.Must(s.Get(nil))(t).Leaf
				if leaf.NotBefore.After(from.Add(slack-Backdate)) || leaf.NotAfter.Before(to.Add(serverRenew)) {
					t.Errorf("valid from %v to %v, it may be %v to %v", leaf.NotBefore, leaf.NotAfter, from, to)
				}
				return leaf.SerialNumber.String()
			}
			valid(earliest, latest)
			earliest, latest = noon, noon
			right := valid(noon, noon)
			if leaf := testkit.Must(s.Get(nil))(t).Leaf; leaf.NotAfter.After(noon.Add(ServerLife + 2*slack)) {
				t.Errorf("the clock is right, and the certificate is valid until %v", leaf.NotAfter)
			}
			if valid(noon, noon) != right {
				t.Error("made anew while nothing changed")
			}
		})
	}
}

func TestLoadTakesWhatBelongsTogether(t *testing.T) {
	a, other := made(t), made(t)
	if b, err := Load(a.Cert.Raw, a.Key); err != nil || !b.Cert.Equal(a.Cert) {
		t.Errorf("loading: %v", err)
	}
	if _, err := Load(a.Cert.Raw, other.Key); err == nil {
		t.Error("another authority's key was taken")
	}
	if _, err := Load([]byte("no certificate"), a.Key); err == nil {
		t.Error("no certificate was taken")
	}
}
