package uplink

import (
	"slices"
	"sync"
	"time"
)

// Status is the state of a gate's uplink, for its screen, health board and metrics.
type Status struct {
	Enrolled    bool      // a terminal certificate is held; without one the gate is out of service
	Revoked     bool      // the server has withdrawn this terminal; known across restarts
	Unknown     bool      // the server does not know this gate's certificate, which is its own: it must be enrolled again
	Reached     bool      // the last exchange brought an answer of the server's own
	DateWrong   bool      // no certificate of the server is valid on the date this device has
	KeyExchange string    // of the last handshake with the server, as crypto/tls names it; "" for none since the start
	Classic     bool      // it was none that withstands a quantum computer: a recording of the traffic is protected less
	LastContact time.Time // of the last such answer, by the gate's clock; zero for none since the start
	LastError   string    // what keeps visits from being delivered, "" for nothing
	Blocked     uint64    // sequence of a record the server neither stores nor refuses for good: kept, and all behind it wait; 0 for none
	Alerts      []string  // "gap", "fork", "rollback": what the server saw of the journal since the start, sorted
}

// equal reports whether nothing but the time of the last contact differs.
func (s Status) equal(t Status) bool {
	return s.Enrolled == t.Enrolled && s.Revoked == t.Revoked && s.Unknown == t.Unknown && s.KeyExchange == t.KeyExchange && s.Classic == t.Classic &&
		s.Reached == t.Reached && s.DateWrong == t.DateWrong && s.LastError == t.LastError &&
		s.Blocked == t.Blocked && slices.Equal(s.Alerts, t.Alerts)
}

// concern is an activity with an error of its own, in the order of what a technician needs to know first.
type concern int

const (
	concernIdentity concern = iota
	concernServer
	concernBlocked
	concernJournal
	concernProvision
	concernRenewal
	concerns
)

// statusBoard puts the status together. notify runs one at a time, in order, outside the lock that readers take.
type statusBoard struct {
	clock  func() (now time.Time, known bool)
	notify func(Status)

	turn sync.Mutex // held over a change and its notification
	mu   sync.Mutex
	s    Status
	errs [concerns]string
}

func (b *statusBoard) get() Status {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.s
	s.Alerts = slices.Clone(s.Alerts)
	return s
}

func (b *statusBoard) change(f func(s *Status, errs *[concerns]string)) {
	b.turn.Lock()
	defer b.turn.Unlock()
	before := b.get()
	b.mu.Lock()
	f(&b.s, &b.errs)
	b.s.LastError = ""
	for _, e := range b.errs {
		if e != "" {
			b.s.LastError = e
			break
		}
	}
	b.mu.Unlock()
	if after := b.get(); b.notify != nil && !after.equal(before) {
		b.notify(after)
	}
}

// heard takes note of an exchange: whether the server itself answered.
func (b *statusBoard) heard(answered bool) {
	b.change(func(s *Status, _ *[concerns]string) {
		s.Reached = answered
		if answered {
			s.LastContact, _ = b.clock()
		}
	})
}

// say sets or, with "", clears what hinders an activity.
func (b *statusBoard) say(c concern, text string) {
	b.change(func(_ *Status, errs *[concerns]string) { errs[c] = text })
}

// maxAlerts bounds what is kept of alerts.
const maxAlerts = 16

func (s *Status) alert(alerts []string) {
	for _, a := range alerts {
		if i, held := slices.BinarySearch(s.Alerts, a); !held && len(s.Alerts) < maxAlerts {
			s.Alerts = slices.Insert(slices.Clone(s.Alerts), i, a)
		}
	}
}
