package screen

import (
	"errors"
	"sync"
	"time"

	"github.com/kipass/kipass/protocol/visit"
)

// shown is an outcome on its way to the pages.
type shown struct {
	outcome     visit.Outcome
	lane        string
	from, until time.Time // monotonic
	by          time.Time // from when on no page begins to show it; zero for none
}

const maxPages = 8

var errFull = errors.New("too many pages are open")

// hub hands outcomes to the open pages. Nothing in it waits for a page: each has one place for the latest outcome and a
// bell that is rung at most once ahead.
type hub struct {
	mu    sync.Mutex
	pages map[*page]struct{}
	last  map[string]shown // by lane, for pages that come or come back while an outcome is on
}

type page struct {
	lane    string // "" is every lane
	pending *shown // guarded by hub.mu
	bell    chan struct{}
}

const maxLanes = 64

func newHub() *hub { return &hub{pages: map[*page]struct{}{}, last: map[string]shown{}} }

func (h *hub) show(s shown) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.last) >= maxLanes {
		clear(h.last)
	}
	h.last[s.lane] = s
	for p := range h.pages {
		if p.lane == "" || p.lane == s.lane {
			p.pending = &s
			p.ring()
		}
	}
}

// wake has every page look at the status.
func (h *hub) wake() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for p := range h.pages {
		p.ring()
	}
}

func (p *page) ring() {
	select {
	case p.bell <- struct{}{}:
	default:
	}
}

// join opens a page; what is still being shown in its lane is pending at once.
func (h *hub) join(lane string) (*page, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.pages) >= maxPages {
		return nil, errFull
	}
	p := &page{lane: lane, bell: make(chan struct{}, 1)}
	for _, s := range h.last {
		if (lane == "" || lane == s.lane) && (p.pending == nil || s.from.After(p.pending.from)) {
			p.pending = &s
		}
	}
	h.pages[p] = struct{}{}
	p.ring()
	return p, nil
}

func (h *hub) leave(p *page) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.pages, p)
}

// take returns the outcome the page is to show and for how long, if there is one that is not over.
func (h *hub) take(p *page) (shown, time.Duration, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := p.pending
	p.pending = nil
	if s == nil {
		return shown{}, 0, false
	}
	if !s.by.IsZero() && !time.Now().Before(s.by) {
		return shown{}, 0, false
	}
	left := time.Until(s.until)
	return *s, left, left > 0
}

func (h *hub) open() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.pages)
}
