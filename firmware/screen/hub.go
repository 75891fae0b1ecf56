package screen

import (
	"slices"
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

// maxPages is how many pages the programs of one user may have open. One more takes the place of the one opened first: a page
// that is loaded again always gets its stream, however many of before have not been noticed to be gone.
const maxPages = 8

// hub hands outcomes to the open pages. Nothing in it waits for a page: each has one place for the latest outcome and a
// bell that is rung at most once ahead.
type hub struct {
	mu    sync.Mutex
	pages []*page          // in the order in which they were opened
	last  map[string]shown // by lane, for pages that come or come back while an outcome is on
}

type page struct {
	lane    string // "" is every lane
	owner   string // whose program it is
	pending *shown // guarded by hub.mu
	bell    chan struct{}
	ended   chan struct{} // closed when another has taken its place
}

const maxLanes = 64

func newHub() *hub { return &hub{last: map[string]shown{}} }

func (h *hub) show(s shown) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.last) >= maxLanes {
		clear(h.last)
	}
	h.last[s.lane] = s
	for _, p := range h.pages {
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
	for _, p := range h.pages {
		p.ring()
	}
}

func (p *page) ring() {
	select {
	case p.bell <- struct{}{}:
	default:
	}
}

// join opens a page for a program of owner's; what is still being shown in its lane is pending at once.
func (h *hub) join(lane, owner string) *page {
	h.mu.Lock()
	defer h.mu.Unlock()
	p := &page{lane: lane, owner: owner, bell: make(chan struct{}, 1), ended: make(chan struct{})}
	for _, s := range h.last {
		if (lane == "" || lane == s.lane) && (p.pending == nil || s.from.After(p.pending.from)) {
			p.pending = &s
		}
	}
	h.makeRoom(owner)
	h.pages = append(h.pages, p)
	p.ring()
	return p
}

// makeRoom ends the first of an owner's pages if they are as many as there may be. The caller holds mu.
func (h *hub) makeRoom(owner string) {
	first, n := -1, 0
	for i, p := range h.pages {
		if p.owner != owner {
			continue
		}
		if n++; first < 0 {
			first = i
		}
	}
	if n >= maxPages {
		close(h.pages[first].ended)
		h.pages = slices.Delete(h.pages, first, first+1)
	}
}

func (h *hub) leave(p *page) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if i := slices.Index(h.pages, p); i >= 0 {
		h.pages = slices.Delete(h.pages, i, i+1)
	}
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
