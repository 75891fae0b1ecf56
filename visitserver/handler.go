package visitserver

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/kipass/kipass/internal/httpserver"
	"github.com/kipass/kipass/protocol/order"
	"github.com/kipass/kipass/protocol/wire"
)

const (
	longAnswer = 5 * time.Minute // for an operator's command, or to the authority, which may get tens of megabytes
	slotWait   = 5 * time.Second // how long a request waits for a slot
)

// Handler returns the public interface: terminals', managers' and the authority's. The server that serves it must use
// [Identity.TLS] and [ConnContext].
func (s *Server) Handler() http.Handler {
	mux := httpserver.NewMux(httpserver.MuxOptions{Logger: s.log})
	mux.Handle("POST "+wire.PathEnrol, problemCBOR, s.enrol)
	mux.Handle("POST "+wire.PathRenew, problemCBOR, s.ofGate(true, s.renew))
	mux.Handle("POST "+wire.PathVisits, problemCBOR, s.ofGate(false, s.takeVisits))
	mux.Handle("POST "+wire.PathHeartbeat, problemCBOR, s.ofGate(false, s.takeHeartbeat))
	mux.Handle("GET "+wire.PathProvision, problemCBOR, s.ofGate(false, s.provision))
	mux.Handle("GET "+wire.PathTime, problemCBOR, s.tellTime)
	mux.Handle("POST "+order.PathOrders, problemCBOR, httpserver.WriteWithin(longAnswer, s.takeOrder))
	mux.Handle("GET /v1/facilities/{facility}/counts", httpserver.ProblemJSON, s.counts)
	return mux
}

// annotate tells the request log which terminal asks.
func annotate(ctx context.Context, t terminalName) {
	httpserver.Annotate(ctx, slog.String("facility", string(t.facility)), slog.String("gate", string(t.gate)))
}

// answer sends a message of the wire.
func answer(w http.ResponseWriter, contentType string, message any) error {
	b, err := wire.Encode(message)
	if err != nil {
		return fmt.Errorf("encoding the answer: %w", err)
	}
	httpserver.Write(w, http.StatusOK, contentType, b)
	return nil
}

// acquire takes a slot for a batch or an order, waiting for it a little; release gives it back.
func (s *Server) acquire(ctx context.Context) (release func(), err error) {
	s.waiting.Add(1)
	defer s.waiting.Add(-1)
	return take(ctx, s.slots, "too many gates at once; send again later")
}

// ofGate has a request answered in the name of the terminal that makes it. expiredToo is as in terminal.
func (s *Server) ofGate(expiredToo bool, h func(w http.ResponseWriter, r *http.Request, t caller, own *turn) error) httpserver.Handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		t, err := s.terminal(r, expiredToo)
		if err != nil {
			return err
		}
		own, leave, err := s.turns.enter(r.Context(), t.name)
		if err != nil {
			return err
		}
		defer leave()
		return h(w, r, t, own)
	}
}
