package sim

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/kipass/kipass/firmware/health"
)

// Every alarm that should sound sounds, and no other. What is wrong in the world, and what each gate's health board
// shows, are noted as stretches of time (troubles.go); the tables below say which of the former explains, and which
// demands, which of the latter.

// cause says that a trouble explains a fault while it lasts, and for a while after.
type cause struct {
	trouble string
	after   time.Duration
}

const (
	lookLag = 3 * time.Minute            // until a gate, which looks once a minute, sees what has begun or ended
	linkLag = 15 * time.Minute           // until a gate that backs off has tried its server again
	tellLag = lookSeldom*11/10 + linkLag // until a gate that has nothing to deliver notices that no server answers
	bootLag = 2 * time.Minute            // until a gate that starts has reached its server
	wordLag = 13 * time.Hour             // for how long a gate remembers what others said of the time
	pastLag = 40 * 24 * time.Hour        // for what is only seen when all is delivered
)

// clocks are what makes a gate doubt or lose the time.
var clocks = []cause{{gateClock, wordLag}, {serverClock, wordLag}, {issuerClock, wordLag}, {poorNetwork, wordLag}}

// explained are the faults that a gate may show, each with all that explains it. One that is not named must never be
// shown: nothing that happens here causes it.
var explained = map[health.Code][]cause{
	health.NotEnrolled: {{gateStarts, bootLag}, {otherDevice, linkLag}},
	health.Revoked:     {{otherDevice, tellLag}},
	// A server that was restored from a backup does not know a gate that was enrolled after it.
	health.CertificateLost: {{otherDevice, linkLag}},
	// An answer with a time before 1970 is no answer of a visit server's.
	health.Offline: {
		{gateStarts, bootLag}, {noNetwork, linkLag}, {poorNetwork, linkLag}, {serverOff, linkLag}, {serverClock, tellLag},
		{otherDevice, tellLag},
	},
	health.ClockUntrusted: clocks,
	health.ClockDoubted:   clocks,
	health.TrustStale:     clocks,
	// What is due on the word of one clock alone waits for a second source; what became due while the gate was off, for the
	// next look.
	health.Overdue: append([]cause{
		{gateStarts, linkLag}, {noNetwork, wordLag}, {serverOff, wordLag}, {diskTrouble, linkLag}, {diskFull, linkLag},
	}, clocks...),
	health.JournalFull:   {{diskFull, lookLag}},
	health.JournalFailed: {{diskTrouble, lookLag}, {diskFull, lookLag}},
	health.AllRefused:    {{allRefused, time.Second}},
	health.JournalJumped: {{gateClock, pastLag}, {serverClock, pastLag}, {serverRestored, pastLag}, {otherDevice, pastLag}},
	health.Quarantined:   {{serverRestored, pastLag}, {otherDevice, pastLag}},
}

// explainedByDate are more of them where certificates are judged: over TLS.
var explainedByDate = map[health.Code][]cause{
	health.Offline:         {{gateClock, linkLag}},
	health.DateWrong:       {{gateClock, linkLag}, {serverClock, tellLag}},
	health.ClassicExchange: {{noNetwork, pastLag}, {poorNetwork, pastLag}, {serverOff, pastLag}},
}

// lasting are faults that stay when their cause is over, until a restart: only their beginning has to be explained.
var lasting = []health.Code{health.JournalJumped, health.Quarantined}

// demands are the faults one of which a gate must show all the time that a trouble lasts, but for what it may take to see
// it.
var demands = []struct {
	trouble string
	within  time.Duration
	codes   []health.Code
}{
	{noNetwork, tellLag, []health.Code{health.Offline}},
	{clockStepped, lookLag, []health.Code{health.ClockUntrusted}},
	{clockMisled, lookLag, []health.Code{health.ClockDoubted, health.ClockUntrusted}},
	{diskFull, lookLag, []health.Code{health.JournalFull}},
	{allRefused, time.Second, []health.Code{health.AllRefused}},
	{outOfService, 0, []health.Code{health.JournalFailed, health.JournalFull, health.NotEnrolled, health.Revoked}},
}

// listener hears what a gate's health board notes.
type listener struct {
	slog.Handler
	g *gateParty
}

// Enabled implements slog.Handler.
func (l listener) Enabled(context.Context, slog.Level) bool { return true }

// Handle implements slog.Handler.
func (l listener) Handle(ctx context.Context, r slog.Record) error {
	about := map[string]string{}
	r.Attrs(func(a slog.Attr) bool { about[a.Key] = a.Value.String(); return true })
	if l.g.w.opts.Sabotage != mutedAlarm || about["code"] != string(health.Offline) {
		l.g.heard.note(strings.TrimSpace(about["code"]+" "+about["subject"]), r.Message == "fault", time.Now())
	}
	if l.Handler.Enabled(ctx, r.Level) {
		return l.Handler.Handle(ctx, r)
	}
	return nil
}

// shown returns when a gate has shown a fault: from the end of its grace on.
func (g *gateParty) shown(code health.Code) (all []stretch) {
	for _, name := range g.heard.names() {
		if first, _, _ := strings.Cut(name, " "); first != string(code) {
			continue
		}
		for _, s := range g.heard.of(name) {
			if s.from = s.from.Add(health.KindOf(code).Grace); !s.to.Before(s.from) {
				all = append(all, s)
			}
		}
	}
	return all
}

// alarms holds what each gate has shown against what was wrong.
func (w *world) alarms() {
	w.troubled()
	for _, g := range w.gates {
		for _, code := range health.Codes() {
			for _, s := range g.shown(code) {
				w.report.Alarms[string(code)]++
				if slices.Contains(lasting, code) {
					s.to = s.from
				}
				if !covered(s, w.explaining(g, code)) {
					w.violated("%s shows %s from %s to %s without a cause", g.name, code, told(s.from), told(s.to))
				}
			}
		}
		w.demanded(g)
	}
}

// explaining are the stretches in which a gate may show a fault.
func (w *world) explaining(g *gateParty, code health.Code) (all []stretch) {
	causes := explained[code]
	if w.opts.TLS {
		causes = slices.Concat(causes, explainedByDate[code])
	}
	for _, c := range causes {
		all = append(all, prolonged(slices.Concat(g.troubles.of(c.trouble), w.troubles.of(c.trouble)), c.after)...)
	}
	return all
}

// demanded looks for the faults that a gate must have shown.
func (w *world) demanded(g *gateParty) {
	for _, d := range demands {
		var seen []stretch
		for _, code := range d.codes {
			seen = append(seen, g.shown(code)...)
		}
		for _, trouble := range g.troubles.of(d.trouble) {
			for _, on := range g.troubles.of(gateOn) {
				s, ok := during(trouble, on)
				if s.from = s.from.Add(d.within); !ok || s.to.Before(s.from) {
					continue
				}
				if !covered(s, prolonged(seen, lookLag)) {
					w.violated("%s does not show %v from %s to %s: %s", g.name, d.codes, told(s.from), told(s.to), d.trouble)
				}
			}
		}
	}
}

func told(at time.Time) string { return at.UTC().Format("01-02 15:04:05") }
