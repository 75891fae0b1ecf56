// Package visitserver is the central visit server: it takes visits from gates, each exactly once, keeps them encrypted
// under a key per day of visit, counts them, destroys them after four weeks, and answers nobody but the health
// authority's approved orders. It knows facilities by their account and codes as ciphertext only; it never holds an
// issuer's key.
package visitserver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kipass/kipass/internal/daykey"
	"github.com/kipass/kipass/internal/guard"
	"github.com/kipass/kipass/internal/loglimit"
	"github.com/kipass/kipass/protocol/order"
	"github.com/kipass/kipass/protocol/visit"
	"github.com/kipass/kipass/visitserver/rowcipher"
	"github.com/kipass/kipass/visitserver/store"
)

// Parts are what a Server is made of. The Server does not close them.
type Parts struct {
	Store    store.Store
	Keys     *daykey.Ring[*rowcipher.Key]
	SealKeys *daykey.Ring[visit.SealPrivateKey] // derived by DeriveSealKey
	Guard    *guard.Clock
	Identity *Identity
	Audit    AuditLog
	Logger   *slog.Logger     // default: none
	Now      func() time.Time // default: time.Now
	// Heartbeat is the time between two heartbeats asked of each gate, default 5 min.
	Heartbeat time.Duration
	Space     Space // default: there is always space
	// TerminalLife is how long a gate's certificate is good, default 365 days.
	TerminalLife time.Duration
}

const (
	maxEpochs   = 16384 // whose key is kept, about 2 KB each
	maxSlots    = 64    // batches and orders in work at once
	maxWarnings = 10    // lines a minute in the log about orders that were refused

	alarmEvery = time.Hour // between two log lines about days that are not destroyed
)

// Server answers terminals, facility managers and the health authority. Its handlers are in Handler and Admin.
type Server struct {
	store     store.Store
	keys      *daykey.Ring[*rowcipher.Key]
	guard     *guard.Clock
	id        *Identity
	seals     *sealKeys
	epochs    *epochCache
	audit     AuditLog
	log       *slog.Logger
	now       func() time.Time
	heartbeat time.Duration // asked of each gate
	life      time.Duration // of a gate's certificate
	space     Space         // nil: there is always space

	gates     stripes
	turns     turns
	strangers loglimit.Limiter // of what may be said of anybody's orders
	refused   order.Refused    // that the audit log tells of
	slots     chan struct{}    // holds one for each batch or order in work
	waiting   atomic.Int64     // requests that wait for a slot
	issuers   issuers
	trust     atomic.Uint64 // version of the trust list in force
	destroy   sync.Mutex    // one destruction at a time
	looked    time.Time     // when the gates were last looked through for keys they seal to; guarded by destroy
	managing  sync.Mutex    // one change of managers at a time
	sealRows  sync.Mutex    // one registration of sealing keys at a time
	held      atomic.Pointer[HeldBack]
	overdue   loglimit.Limiter // of what is logged about days that are not destroyed
	step      func(string)     // told after each durable step of a destruction
}

// New makes a server of its parts.
func New(ctx context.Context, p Parts) (*Server, error) {
	if p.Store == nil || p.Keys == nil || p.SealKeys == nil || p.Guard == nil || p.Identity == nil || p.Audit == nil {
		return nil, errors.New("visit server: store, both kinds of keys, guard, identity and audit log are all needed")
	}
	s := &Server{
		store: p.Store, keys: p.Keys, guard: p.Guard, id: p.Identity, seals: newSealKeys(p.SealKeys),
		audit: p.Audit, log: p.Logger, now: p.Now,
		epochs:    newEpochCache(maxEpochs),
		gates:     stripes{seed: maphash.MakeSeed()},
		slots:     make(chan struct{}, maxSlots),
		strangers: loglimit.Limiter{Burst: maxWarnings},
		step:      func(string) {},
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.now == nil {
		s.now = time.Now
	}
	s.overdue.Every, s.overdue.Now = alarmEvery, s.now
	s.space = p.Space
	s.heartbeat = cmp.Or(p.Heartbeat, heartbeatPeriod)
	s.life = cmp.Or(p.TerminalLife, terminalLife)
	list, err := s.trustList(ctx)
	if err != nil {
		return nil, fmt.Errorf("visit server: %w", err)
	}
	s.trust.Store(list.version)
	if err := s.logRegisters(ctx); err != nil {
		return nil, fmt.Errorf("visit server: %w", err)
	}
	if err := s.issuers.load(ctx, s); err != nil {
		return nil, fmt.Errorf("visit server: %w", err)
	}
	retired, err := s.store.Retired(ctx)
	if err != nil {
		return nil, fmt.Errorf("visit server: %w", err)
	}
	for _, t := range retired {
		s.keys.Forbid(t.Day)
	}
	if err := s.openSealKeys(ctx); err != nil {
		return nil, fmt.Errorf("visit server: %w", err)
	}
	return s, nil
}

// terminalName is a gate of a facility.
type terminalName struct {
	facility visit.Facility
	gate     visit.Gate
}

func (t terminalName) String() string { return string(t.facility) + "/" + string(t.gate) }

// stripes holds one gate's batches apart from each other.
type stripes struct {
	seed  maphash.Seed
	locks [256]sync.Mutex
}

func (s *stripes) of(t terminalName) *sync.Mutex {
	return &s.locks[maphash.String(s.seed, t.String())%uint64(len(s.locks))]
}
