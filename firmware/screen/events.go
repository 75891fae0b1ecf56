package screen

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/kipass/kipass/internal/httpserver"
	"github.com/kipass/kipass/protocol/visit"
)

// outcomeEvent is everything a page learns of a scan.
type outcomeEvent struct {
	Outcome string `json:"outcome"` // stable code
	Colour  string `json:"colour"`  // "green", "amber" or "red"
	Words   string `json:"words"`
	Second  string `json:"second,omitempty"`
	Hold    int64  `json:"hold"` // milliseconds left to show it
}

// statusEvent is what a page knows of the gate between scans.
type statusEvent struct {
	InService bool   `json:"inService"`
	Reached   bool   `json:"reached"`
	Network   string `json:"network"` // words for the corner
	Backlog   string `json:"backlog"` // words for the corner; empty when nothing waits
	Faults    int    `json:"faults"`
	Build     string `json:"build"` // of the pages; one that is of another reloads itself
}

func (s *Screen) outcomeEvent(o visit.Outcome, left time.Duration) outcomeEvent {
	e := outcomeEvent{Outcome: o.String(), Colour: o.Signal().String(), Words: s.words(o, s.opts.Language), Hold: max(1, left.Milliseconds())}
	if s.opts.Second != "" {
		e.Second = s.words(o, s.opts.Second)
	}
	return e
}

func (s *Screen) statusEvent() statusEvent {
	status, fresh := s.current()
	e := statusEvent{
		InService: fresh && status.InService, Reached: status.Reached, Faults: len(status.Faults), Build: build,
		Network: note(noteOffline, s.opts.Language),
	}
	if status.Reached {
		e.Network = note(noteOnline, s.opts.Language)
	}
	if status.Backlog > 0 {
		e.Backlog = fmt.Sprintf(note(noteBacklog, s.opts.Language), status.Backlog)
	}
	return e
}

// events is the stream of server-sent events (WHATWG HTML, section 9.2) behind a page: "status" on opening, on change
// and as a sign of life, "outcome" for each scan. It ends when the page goes, does not read, has to make room for another of
// the same user's – not before it has been told how things stand –, or the gate ends.
func (s *Screen) events(w http.ResponseWriter, r *http.Request) error {
	p := s.hub.join(r.URL.Query().Get("lane"), requester(r.Context()))
	defer s.hub.leave(p)
	out := stream{w: w, control: http.NewResponseController(w)}
	w.Header().Set("Content-Type", "text/event-stream")
	out.write("retry: 1000\n\n")
	beat := time.NewTicker(beatEvery)
	defer beat.Stop()
	var told statusEvent
	for out.err == nil {
		if status := s.statusEvent(); status != told {
			told = status
			out.send("status", status)
		}
		if showing, left, ok := s.hub.take(p); ok {
			out.send("outcome", s.outcomeEvent(showing.outcome, left))
		}
		select {
		case <-r.Context().Done():
			return nil
		case <-httpserver.Draining(r.Context()):
			return nil
		case <-p.ended:
			return nil
		case <-p.bell:
		case <-beat.C:
			told = statusEvent{}
		}
	}
	return nil // the page is gone, or does not read: it comes again if it wants to
}

// stream writes events; after the first error it does nothing.
type stream struct {
	w       http.ResponseWriter
	control *http.ResponseController
	err     error
}

func (s *stream) send(event string, data any) {
	b, err := json.Marshal(data)
	if err != nil {
		s.err = err
		return
	}
	s.write(fmt.Sprintf("event: %s\ndata: %s\n\n", event, b))
}

func (s *stream) write(text string) {
	if s.err != nil {
		return
	}
	if s.err = s.control.SetWriteDeadline(time.Now().Add(writeLimit)); s.err != nil {
		return
	}
	if _, s.err = s.w.Write([]byte(text)); s.err == nil {
		s.err = s.control.Flush()
	}
}
