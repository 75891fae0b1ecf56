package uplink

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kipass/kipass/internal/testkit/fakevisits"
	"github.com/kipass/kipass/protocol/wire"
)

// gateClock is a device's clock that is off by so much, and is set by the server's word unless it knows better.
type gateClock struct {
	mu    sync.Mutex
	off   time.Duration
	known bool
	told  int // times the server's word came
}

func (c *gateClock) now() (time.Time, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.off), c.known
}

func (c *gateClock) hear(t time.Time, _ time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.told++
	if !c.known {
		c.off, c.known = time.Until(t), true
	}
}

const years = 365 * 24 * time.Hour

// Time is not needed in order to get the time: by an authority of its own a gate without a clock asks for it first.
func TestAGateWithoutAClockReachesItsServer(t *testing.T) {
	for rule, c := range map[string]struct {
		off      time.Duration
		enrolled bool
	}{
		"before the server's certificate": {off: -29 * years},
		"an hour before it":               {off: -2 * time.Hour},
		"after its end":                   {off: 29 * years},
		"enrolled, before":                {off: -29 * years, enrolled: true},
		"enrolled, after":                 {off: 29 * years, enrolled: true},
	} {
		t.Run(rule, bubble(func(t *testing.T) {
			f := newFixture(t, 3)
			if c.enrolled {
				f.enrolled()
			}
			clock := &gateClock{off: c.off}
			asked := f.asked()
			u := f.uplink(func(opts *Options) { opts.Time, opts.OnServerTime = clock.now, clock.hear })
			f.run(u, f.drained)
			f.checkLedger()
			if s := u.Status(); s.DateWrong || s.LastError != "" || !s.Reached {
				t.Errorf("status %+v", s)
			}
			// A terminal certificate proves that it is later than 1970, so an enrolled gate has no need to ask.
			if first := asked()[0]; (first == "time") != (!c.enrolled || c.off > 0) || slices.Index(asked(), "enrol") == 0 {
				t.Errorf("asked for %v", asked())
			}
			if now, _ := clock.now(); time.Until(now).Abs() > time.Minute {
				t.Errorf("the gate's clock is %v off", time.Until(now))
			}
		}))
	}
}

// Where the date counts the server is not asked for anything, and what is wrong is said.
func TestADateThatIsWrongIsToldAndNothingIsAsked(t *testing.T) {
	other := func(opts *Options) {
		opts.CA = x509.NewCertPool()
		opts.CA.AddCert(fakevisits.New(t).CA.Cert)
	}
	for rule, c := range map[string]struct {
		known  bool
		change func(opts *Options)
		says   string
	}{
		"a clock that is known, and the certificate is not of today": {true, func(*Options) {}, "valid from 1999-12-31 to 2000-03-31"},
		"authorities that sign for anybody":                          {false, func(opts *Options) { opts.PublicCA = true }, "here it is 2028-12-24"},
		"a certificate of another authority":                         {false, other, "unknown authority"},
		"a certificate for another name":                             {false, func(opts *Options) { opts.Server.Host = "other.test" }, "not other.test"},
	} {
		t.Run(rule, bubble(func(t *testing.T) {
			f := newFixture(t, 3)
			f.server.Serve(f.listen("other.test:443"), serverHost)
			clock := &gateClock{off: 29 * years, known: c.known}
			f.server.SetFault(func(_ http.ResponseWriter, r *http.Request, _ []byte) bool {
				t.Errorf("asked for %s", r.URL.Path)
				return false
			})
			u := f.uplink(func(opts *Options) {
				opts.Time, opts.OnServerTime = clock.now, clock.hear
				address := *opts.Server
				opts.Server = &address
				c.change(opts)
			})
			f.run(u, func() bool { return u.Status().LastError != "" })
			s := u.Status()
			if !s.DateWrong || s.Reached || !strings.Contains(s.LastError, errDate.Error()) || !strings.Contains(s.LastError, c.says) {
				t.Errorf("status %+v", s)
			}
			if clock.told != 0 {
				t.Error("the clock was told a time")
			}
		}))
	}
}

// A certificate that was of another time, in the hands of whoever has its old key, sets no clock.
func TestATimeOutsideTheCertificateIsNotTaken(t *testing.T) {
	bubble(func(t *testing.T) {
		f := newFixture(t, 3)
		clock := &gateClock{off: 29 * years}
		f.server.SetFault(func(w http.ResponseWriter, r *http.Request, _ []byte) bool {
			if r.URL.Path != wire.PathTime {
				t.Errorf("asked for %s", r.URL.Path)
			}
			f.server.Answer(w, wire.TypeTime, wire.Time{ServerTime: time.Now().Add(1 * years).UnixMilli()})
			return true
		})
		u := f.uplink(func(opts *Options) { opts.Time, opts.OnServerTime = clock.now, clock.hear })
		f.run(u, func() bool { return u.Status().LastError != "" })
		if s := u.Status(); !s.DateWrong || clock.told != 0 || !strings.Contains(s.LastError, "at the server's own time") {
			t.Errorf("told %d times, status %+v", clock.told, s)
		}
	})(t)
}

// Its own certificate shows a gate without a clock that it is later than 1970. A known clock is not moved by it: the server
// may have been ahead when it made the certificate.
func TestACertificateMovesNoKnownClock(t *testing.T) {
	now := time.Now()
	ahead := &tls.Certificate{Leaf: &x509.Certificate{NotBefore: now.Add(72 * time.Hour)}}
	for known, want := range map[bool]time.Time{true: now, false: ahead.Leaf.NotBefore} {
		opts := Options{Time: func() (time.Time, bool) { return now, known }}
		if got := authentic(opts, func() *tls.Certificate { return ahead }).Time(); !got.Equal(want) {
			t.Errorf("known %v: judged at %v, want %v", known, got, want)
		}
	}
}
