package fakevisits

import (
	"bytes"
	"io"
	"net/http"
	"time"

	"github.com/kipass/kipass/protocol/visit"
	"github.com/kipass/kipass/protocol/wire"
)

// gather is how long the server asks gates to gather scans, in milliseconds: short, so that tests are.
const gather = 10

// Handle deals with a request as the server does when there is no fault.
func (s *Server) Handle(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the gate went away
	}
	switch r.Method + " " + r.URL.Path {
	case "POST " + wire.PathVisits:
		segment := s.Segment(body)
		s.Keep(segment)
		s.Answer(w, wire.TypeReceipt, s.Receipt(visit.Settlement{Journal: segment.Journal, Through: segment.Through()}))
	case "POST " + wire.PathHeartbeat:
		decode[wire.Heartbeat](s, body)
		s.count(func(c *Counts) { c.Heartbeats++ })
		s.Answer(w, wire.TypeReceipt, s.Receipt(visit.Settlement{}))
	case "POST " + wire.PathEnrol:
		s.enrol(w, decode[wire.EnrolRequest](s, body))
	case "POST " + wire.PathRenew:
		s.renew(w, r, decode[wire.RenewRequest](s, body))
	case "GET " + wire.PathTime:
		s.Answer(w, wire.TypeTime, wire.Time{ServerTime: time.Now().UnixMilli()})
	case "GET " + wire.PathProvision:
		s.Answer(w, wire.TypeProvision, s.Provision())
	default:
		s.Refuse(w, http.StatusNotFound, wire.CodeBadRequest, "no such path")
	}
}

// decode reads a gate's message; a malformed one fails the test, for no gate may send it.
func decode[T any](s *Server, body []byte) T {
	m, err := wire.Decode[T](body)
	if err != nil {
		s.t.Errorf("fake visit server: %v", err)
	}
	return m
}

// Segment returns the segment of a batch's body. A malformed batch fails the test.
func (s *Server) Segment(body []byte) visit.Segment {
	b, err := wire.DecodeBatch(body)
	if err != nil {
		s.t.Errorf("fake visit server: %v", err)
	}
	return b.Segment
}

// Keep stores the records of one batch, each once, as a commit does before the answer.
func (s *Server) Keep(segment visit.Segment) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts.Batches++
	for _, r := range segment.Records {
		if s.CountOnly {
			s.counts.Visits++
			continue
		}
		at := place{segment.Journal, r.Seq}
		switch held, ok := s.visits[at]; {
		case !ok:
			s.counts.Visits++
		case !bytes.Equal(held, r.Data):
			s.counts.Conflicts++
		}
		s.visits[at] = r.Data
	}
}

// Receipt returns a receipt with a settlement and the server's usual terms.
func (s *Server) Receipt(settled visit.Settlement) wire.Receipt {
	return wire.Receipt{
		Settled: settled, ServerTime: time.Now().UnixMilli(), Trust: s.Trust(), SealKey: s.SealKey.Public().ID(), Gather: gather,
	}
}

// Provision returns what the server provides to terminals.
func (s *Server) Provision() wire.Provision {
	return wire.Provision{
		SealKey: s.SealKey.Public().Bytes(), TrustList: s.TrustList, Until: time.Now().AddDate(0, 0, 7).UnixMilli(),
	}
}

// Answer writes a message.
func (s *Server) Answer(w http.ResponseWriter, contentType string, message any) {
	s.write(w, http.StatusOK, contentType, message)
}

// Refuse writes a problem; headers may have been set before.
func (s *Server) Refuse(w http.ResponseWriter, status int, code, detail string) {
	s.write(w, status, wire.TypeProblem, wire.Problem{Code: code, Detail: detail})
}

func (s *Server) write(w http.ResponseWriter, status int, contentType string, message any) {
	b, err := wire.Encode(message)
	if err != nil {
		s.t.Errorf("fake visit server: %v", err)
	}
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(status)
	_, _ = w.Write(b) // the gate may have gone away
}
