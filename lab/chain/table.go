package chain

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/kipass/kipass/protocol/visit"
)

// table is the live view of a run: on a terminal one line that is written over, elsewhere a line every ten seconds.
type table struct {
	out      io.Writer
	terminal bool
	began    time.Time

	mu       sync.Mutex
	cut      bool
	restarts int
}

func newTable(out io.Writer) *table {
	t := &table{out: out, began: time.Now()}
	if f, ok := out.(*os.File); ok {
		info, err := f.Stat()
		t.terminal = err == nil && info.Mode()&os.ModeCharDevice != 0
	}
	return t
}

// say writes a line of its own.
func (t *table) say(line string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.clear()
	fmt.Fprintf(t.out, "%6.1fs  %s\n", time.Since(t.began).Seconds(), line)
}

func (t *table) clear() {
	if t.terminal {
		fmt.Fprint(t.out, "\r\x1b[K")
	}
}

func (t *table) outage(on bool) {
	t.mu.Lock()
	t.cut = on
	t.mu.Unlock()
	if on {
		t.say("통신 장애 시작 / the visit server is cut off")
	} else {
		t.say("통신 복구 / the visit server is back")
	}
}

func (t *table) restarted(n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.restarts = n
}

// run shows the counts until ctx ends.
func (t *table) run(ctx context.Context, truth *truth) {
	every := 10 * time.Second
	if t.terminal {
		every = 500 * time.Millisecond
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			t.show(truth)
		case <-ctx.Done():
			t.show(truth)
			if t.terminal {
				fmt.Fprintln(t.out)
			}
			return
		}
	}
}

func (t *table) show(truth *truth) {
	counts := truth.counts()
	t.mu.Lock()
	defer t.mu.Unlock()
	var cells []string
	for _, o := range visit.Outcomes() {
		if n := counts[o.String()]; n > 0 {
			cells = append(cells, fmt.Sprintf("%v %d", o, n))
		}
	}
	if t.cut {
		cells = append(cells, "[server cut off]")
	}
	if t.restarts > 0 {
		cells = append(cells, fmt.Sprintf("[gate killed %d×]", t.restarts))
	}
	t.clear()
	fmt.Fprintf(t.out, "%6.1fs  %s", time.Since(t.began).Seconds(), strings.Join(cells, "  "))
	if !t.terminal {
		fmt.Fprintln(t.out)
	}
}
