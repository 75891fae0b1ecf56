package chain

import (
	"bufio"
	"context"
	"crypto/ed25519"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kipass/kipass/internal/testkit"
	"github.com/kipass/kipass/protocol/visit"
)

// gates stands for gates that are killed one after the other: what one leaves on the line, the next one answers.
type gates struct {
	frames chan string
	up     atomic.Int64
}

func (g *gates) generation() int { return int(g.up.Load()) }

// read takes frames from the line as a gate does, but for those that are empty.
func (g *gates) read(line *os.File) {
	for in := bufio.NewReader(line); ; {
		frame, err := in.ReadString('\r')
		if err != nil {
			return
		}
		if frame = strings.TrimRight(frame, "\r"); frame != "" {
			g.frames <- frame
		}
	}
}

func newDoor(t *testing.T) (*door, *gates) {
	t.Helper()
	g := &gates{frames: make(chan string, 16)}
	g.up.Store(1)
	line := testkit.Must(newLine(115200))(t)
	t.Cleanup(line.close)
	go g.read(line.slave)
	_, strange, err := ed25519.GenerateKey(nil)
	testkit.Check(t, err)
	d := &door{
		line: line, viewer: newViewer("", g.generation), truth: newTruth(), strange: strange, generation: g.generation,
		steady: func(do func() error) error { return do() }, frail: true,
		troubled: &trouble{}, delays: &delays{},
	}
	d.viewer.at = 1
	return d, g
}

// presentText shows a text and returns what it led to.
func (d *door) presentText(ctx context.Context, text string) (presented, error) {
	return d.present(ctx, presentation{send: func() error { return d.line.send(ctx, []byte(text+"\r")) }})
}

func (d *door) shows(o visit.Outcome) { d.viewer.outcomes <- seen{o, time.Now()} }

// restart is the end of a gate and the beginning of the next.
func (g *gates) restart(d *door) {
	d.viewer.mu.Lock()
	defer d.viewer.mu.Unlock()
	d.viewer.at++
	g.up.Add(1)
}

// The gate is killed while it reads a code. The next one finds the rest of it on the line, or all of it, and takes its
// time. Whatever it shows for that belongs to the visitor whose code it was, and to nobody after.
func TestWhatAKilledGateLeftIsNotTheNextVisitors(t *testing.T) {
	for _, c := range []struct {
		rule string
		rest []visit.Outcome // what the next gate shows for what was left, once something else has been sent
	}{
		{"all is lost", nil},
		{"the rest of a code", []visit.Outcome{visit.NotACode}},
		{"the whole code", []visit.Outcome{visit.Admitted}},
		{"a held code", []visit.Outcome{visit.NotACode, visit.Admitted}},
	} {
		t.Run(c.rule, func(t *testing.T) {
			d, g := newDoor(t)
			first := make(chan presented, 1)
			go func() {
				p, err := d.presentText(t.Context(), "KIP1:FIRST")
				if err != nil {
					t.Error(err)
				}
				first <- p
			}()
			<-g.frames
			g.restart(d)
			again := <-g.frames
			for _, o := range c.rest {
				d.shows(o)
			}
			for answered := false; !answered; { // the marker, and the code again if it was lost
				if again == "KIP1:FIRST" {
					d.shows(visit.CodeUsed)
					answered = true
				} else {
					d.shows(visit.UnknownIssuer)
					answered = len(c.rest) > 0
				}
				if !answered {
					again = <-g.frames
				}
			}
			want := c.rest
			if len(want) == 0 {
				want = []visit.Outcome{visit.CodeUsed}
			}
			p := <-first
			if len(p.outcomes) != len(want) || p.outcomes[0] != want[0] || p.restarted != (len(c.rest) > 0) {
				t.Errorf("the first visitor's outcomes are %v, want %v", p.outcomes, want)
			}
			go func() { <-g.frames; d.shows(visit.NotACode) }()
			next, err := d.presentText(t.Context(), "8801062518210")
			if err != nil || len(next.outcomes) != 1 || next.outcomes[0] != visit.NotACode || len(d.truth.wrong) != 0 {
				t.Errorf("the next visitor's outcomes are %v, %v; uncaused: %v", next.outcomes, err, d.truth.wrong)
			}
		})
	}
}

// An outcome that is shown although nobody has shown anything is nobody's, and told.
func TestAnOutcomeThatNobodyCausedIsTold(t *testing.T) {
	d, g := newDoor(t)
	d.shows(visit.Admitted)
	go func() { <-g.frames; d.shows(visit.NotACode) }()
	p, err := d.presentText(t.Context(), "8801062518210")
	if err != nil || len(p.outcomes) != 1 || p.outcomes[0] != visit.NotACode {
		t.Errorf("%v, %v", p.outcomes, err)
	}
	if len(d.truth.wrong) != 1 || d.truth.falseGreen != 1 {
		t.Errorf("%v, %d false greens", d.truth.wrong, d.truth.falseGreen)
	}
}

// A gate knows better than a wrong server once two issuers have spoken twice each; codes of one second count once, and
// each gate begins anew.
func TestTestimony(t *testing.T) {
	var heard testimony
	at := time.Unix(1_600_000_000, 0)
	for i, c := range []struct {
		gate   int
		issuer string
		after  time.Duration
		sure   bool
	}{
		{1, "naver", 0, false}, {1, "pass", 0, false}, {1, "naver", time.Second, false}, {1, "pass", time.Millisecond, false},
		{1, "pass", time.Second, true}, {1, "naver", time.Second, true}, {2, "naver", 2 * time.Second, false},
	} {
		if sure := heard.add(c.gate, c.issuer, at.Add(c.after)); sure != c.sure {
			t.Errorf("code %d: sure %v, want %v", i, sure, c.sure)
		}
	}
}
