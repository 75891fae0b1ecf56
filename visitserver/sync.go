package visitserver

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/kipass/kipass/internal/httpserver"
	"github.com/kipass/kipass/protocol/visit"
	"github.com/kipass/kipass/protocol/wire"
)

const (
	gatherIdle      = time.Second // gathering time asked for while the server is idle
	heartbeatPeriod = 5 * time.Minute
	maxWait         = 5 * time.Second // longest wait that is asked for
	tableHeartbeat  = "heartbeat"
	maxFaults       = 32 // in a heartbeat
	maxText         = 64 // bytes of a version or a fault
)

// tellTime answers anybody, and says nothing but the time.
func (s *Server) tellTime(w http.ResponseWriter, _ *http.Request) error {
	return answer(w, wire.TypeTime, wire.Time{ServerTime: s.now().UnixMilli()})
}

func (s *Server) takeVisits(w http.ResponseWriter, r *http.Request, t caller, own *turn) error {
	raw, err := httpserver.ReadBody(w, r, wire.TypeBatch, wire.MaxBatch)
	if err != nil {
		return err
	}
	batch, err := wire.DecodeBatch(raw)
	if err != nil {
		return httpserver.BadRequest.With(err.Error())
	}
	if err := s.room(); err != nil {
		return err
	}
	end, err := own.begin(r.Context())
	if err != nil {
		return err
	}
	defer end()
	release, err := s.acquire(r.Context())
	if err != nil {
		return err
	}
	defer release()
	// Once begun it is carried through: a gate that hangs up has its visits stored all the same.
	done, err := s.ingest(context.WithoutCancel(r.Context()), t, batch)
	if err != nil {
		return whenFull(err)
	}
	receipt := s.receipt()
	receipt.Settled, receipt.Alerts, receipt.Resend = done.settled, done.alerts, done.resend
	return answer(w, wire.TypeReceipt, receipt)
}

// receipt is what every answer to a gate says. Pacing grows with the number of gates at work: a fleet that comes back after
// an outage is spread over time.
func (s *Server) receipt() wire.Receipt {
	load := float64(len(s.slots)+int(s.waiting.Load())) / float64(cap(s.slots))
	seal, _ := s.seals.offered()
	r := wire.Receipt{
		ServerTime: s.now().UnixMilli(), Trust: s.trust.Load(), SealKey: seal.key.ID(),
		Gather: uint32(gatherIdle.Milliseconds()), Heartbeat: uint32(s.heartbeat / time.Second),
	}
	if load > 0.5 {
		r.Gather = uint32(wire.MaxGather.Milliseconds())
		r.Wait = uint32(float64(maxWait.Milliseconds()) * min(load, 1) * rand.Float64())
	}
	return r
}

// HeartbeatRow is the last state that a gate reported.
type HeartbeatRow struct {
	At         time.Time `json:"at"`
	Version    string    `json:"version"`
	Backlog    uint64    `json:"backlog"`
	Quarantine uint64    `json:"quarantine"`
	Oldest     int64     `json:"oldest,omitempty"` // milliseconds since 1970
	Clock      string    `json:"clock"`
	FreeDisk   uint64    `json:"free_disk"`
	// KeyExchange is that of the connection it came by, as crypto/tls names it. Without a post-quantum one a recording of the
	// traffic is protected less: a box on the way, or somebody, cuts longer handshakes off.
	KeyExchange string    `json:"key_exchange"`
	Faults      []string  `json:"faults,omitempty"`
	SealKeys    []SealUse `json:"seal_keys,omitempty"` // the keys it has sealed to lately, the newest last
}

func (s *Server) takeHeartbeat(w http.ResponseWriter, r *http.Request, t caller, own *turn) error {
	raw, err := httpserver.ReadBody(w, r, wire.TypeHeartbeat, wire.MaxRequest)
	if err != nil {
		return err
	}
	h, err := wire.Decode[wire.Heartbeat](raw)
	if err == nil {
		err = checkHeartbeat(h)
	}
	if err != nil {
		return httpserver.BadRequest.With(err.Error())
	}
	end, err := own.begin(r.Context())
	if err != nil {
		return err
	}
	defer end()
	// On a full disk it is answered and not kept: the gate learns the time all the same.
	var resend *wire.Resend
	if s.room() == nil {
		if resend, err = s.keepHeartbeat(r.Context(), t, h); err != nil {
			return whenFull(err)
		}
	}
	receipt := s.receipt()
	receipt.Resend = resend
	return answer(w, wire.TypeReceipt, receipt)
}

// certain is the time that has come for certain: what a gate says now is not of a later one, however far ahead the clock is.
func (s *Server) certain() time.Time { return s.guard.Look().By.UTC().Truncate(time.Millisecond) }

// earliest is the earliest that it may be. Terminals' certificates are dated and judged by it: one that begins or ends too
// soon costs a renewal, one of a later time would shut its gate out.
func (s *Server) earliest() time.Time {
	at, _ := s.guard.Times()
	return at
}

// keepHeartbeat returns what the gate is asked for if it tells of more as settled than is held of its journal.
func (s *Server) keepHeartbeat(ctx context.Context, c caller, h wire.Heartbeat) (*wire.Resend, error) {
	t := c.name
	mu := s.gates.of(t)
	mu.Lock()
	defer mu.Unlock()
	raw, err := optional(s.store.Get(ctx, tableHeartbeat, t.String()))
	if err != nil {
		return nil, err
	}
	held, err := s.loadProgress(ctx, t, h.Journal)
	if err != nil {
		return nil, err
	}
	var old HeartbeatRow
	_ = json.Unmarshal(raw, &old) // one that is damaged, or missing, says nothing
	now := s.certain()
	from, behind := held.journal.lacks(h)
	var e edit
	if alert := held.gate.show(c, now); alert != "" {
		if err := s.raise(ctx, &e, t, alert); err != nil {
			return nil, err
		}
	}
	if h.Journal != (visit.JournalID{}) {
		if alert := held.gate.enter(h.Journal, held.journalRaw != nil, c.row.Enrolled, now); alert != "" {
			if err := s.raise(ctx, &e, t, alert); err != nil {
				return nil, err
			}
		}
		held.gate.Backlog = h.Backlog
		if h.Backlog == 0 && !behind && !held.gate.Doubtful {
			held.gate.Delivered = now
		}
	}
	e.put(tableGate, t.String(), held.gateRaw, held.gate)
	e.put(tableHeartbeat, t.String(), raw, HeartbeatRow{
		At: now, Version: h.Version, Backlog: h.Backlog, Quarantine: h.Quarantine, Oldest: h.Oldest,
		Clock: h.Clock, FreeDisk: h.FreeDisk, Faults: h.Faults, KeyExchange: c.by.String(), SealKeys: s.usesSeal(old.SealKeys, h.SealKey),
	})
	if err := e.apply(ctx, s.store); err != nil || !behind {
		return nil, err
	}
	return s.askAgain(t, h.Journal, from, h.Settled), nil
}

func checkHeartbeat(h wire.Heartbeat) error {
	tooLong := len(h.Version) > maxText || len(h.Faults) > maxFaults
	for _, f := range h.Faults {
		tooLong = tooLong || len(f) > maxText
	}
	if tooLong {
		return errors.New("heartbeat holds more or longer text than is taken")
	}
	for _, c := range []visit.ClockState{visit.ClockUntrusted, visit.ClockHoldover, visit.ClockSynced} {
		if h.Clock == c.String() {
			return nil
		}
	}
	return errors.New("heartbeat names an unknown clock state")
}
