package hil

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	tellEvery = 10 * time.Second       // between two lines about a scenario that is under way
	drawEvery = 200 * time.Millisecond // between two looks of the line on a terminal
)

// progress tells how far the scenarios under way are: on a terminal in one line at the bottom, elsewhere in a line for each
// every tellEvery. It is safe for concurrent use.
type progress struct {
	out      io.Writer
	terminal bool

	mu       sync.Mutex
	underWay []*step // in the order of their beginning
}

// step is how far one scenario is.
type step struct {
	of    *progress
	name  string
	began time.Time

	done, total int // checks, or power cuts; total is 0 while it is not known
	doing       string
}

func newProgress(out io.Writer) *progress {
	f, ok := out.(*os.File)
	if ok {
		_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
		ok = err == nil
	}
	return &progress{out: out, terminal: ok}
}

// run tells until ctx ends.
func (p *progress) run(ctx context.Context) {
	every := tellEvery
	if p.terminal {
		every = drawEvery
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			p.tell()
		}
	}
}

// begin takes a scenario in.
func (p *progress) begin(name string) *step {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := &step{of: p, name: name, began: time.Now()}
	p.underWay = append(p.underWay, s)
	return s
}

// at notes how far the scenario is and what it is doing.
func (s *step) at(done, total int, doing string) {
	s.of.mu.Lock()
	defer s.of.mu.Unlock()
	s.done, s.total, s.doing = done, total, doing
}

// end writes what came of the scenario, which is no longer under way.
func (s *step) end(r Result) {
	s.of.mu.Lock()
	defer s.of.mu.Unlock()
	for i, other := range s.of.underWay {
		if other == s {
			s.of.underWay = append(s.of.underWay[:i], s.of.underWay[i+1:]...)
			break
		}
	}
	s.of.wipe()
	r.row(s.of.out)
}

func (p *progress) tell() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.terminal {
		for _, s := range p.underWay {
			fmt.Fprintf(p.out, "%-14s 진행 중 / under way %s\n", s.name, s)
		}
		return
	}
	var all []string
	for _, s := range p.underWay {
		all = append(all, s.name+" "+s.String())
	}
	p.wipe()
	fmt.Fprint(p.out, shorten(strings.Join(all, " | "), columns(p.out)))
}

// wipe empties the terminal's bottom line.
func (p *progress) wipe() {
	if p.terminal {
		fmt.Fprint(p.out, "\r\x1b[K")
	}
}

// String returns, for example, "57/201 1m2s".
func (s *step) String() string {
	text := time.Since(s.began).Round(time.Second).String()
	if s.total > 0 {
		text = fmt.Sprintf("%d/%d %s", s.done, s.total, text)
	}
	return strings.TrimSpace(text + " " + s.doing)
}

// columns returns the width of a terminal, less the last column, in which some would begin a new line.
func columns(out io.Writer) int {
	if f, ok := out.(*os.File); ok {
		if size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ); err == nil && size.Col > 1 {
			return int(size.Col) - 1
		}
	}
	return 79
}

// shorten returns at most n characters of a text of ASCII.
func shorten(text string, n int) string {
	if len(text) <= n {
		return text
	}
	return text[:n]
}
