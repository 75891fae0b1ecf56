package chain

import (
	"context"
	mathrand "math/rand/v2"
	"slices"
	"time"
)

// ReaderHabits are what readers put around codes, or send when nobody shows any, as --reader names them.
var ReaderHabits = []string{"plain", "marks", "spaces", "keepalive", "mixed"}

// habit is what one reader does with a code, and between codes.
type habit struct {
	before, after []string // one of each is put around a code; none is as likely as each of them
	between       []string // sent now and then while nobody shows a code
}

var habits = withMixed(map[string]habit{
	"plain": {before: []string{"]Q1"}}, // the AIM identifier of a QR code
	"marks": {
		before: []string{"]Q1", "\xEF\xBB\xBF", "\\000026", "\x11", "\x0C", "\x00"}, // AIM, BOM, ECI 26 (UTF-8), XON, FF, NUL
		after:  []string{"\x1D", "\x00", "\x13"},                                    // GS, NUL, XOFF
	},
	"spaces":    {before: []string{" ", "  ", "]Q1 "}, after: []string{" ", "  "}},
	"keepalive": {before: []string{"]Q1"}, between: []string{"\x00", "\x11", "\x13", "\x11\x13\x11"}},
})

// withMixed adds the reader that has all habits.
func withMixed(habits map[string]habit) map[string]habit {
	mixed := habit{}
	for _, name := range ReaderHabits {
		h := habits[name]
		mixed.before = union(mixed.before, h.before)
		mixed.after = union(mixed.after, h.after)
		mixed.between = union(mixed.between, h.between)
	}
	habits["mixed"] = mixed
	return habits
}

// union returns what is in either, each once.
func union(a, b []string) []string {
	all := slices.Concat(a, b)
	slices.Sort(all)
	return slices.Compact(all)
}

// endings are what readers put behind a code.
var endings = []string{"\r", "\n", "\r\n"}

// dress returns what the reader sends for a code.
func (h habit) dress(text string, rng *mathrand.Rand) string {
	return oneOf(h.before, rng) + text + oneOf(h.after, rng) + endings[rng.IntN(len(endings))]
}

// oneOf returns one of the texts, or with the same chance as each none.
func oneOf(texts []string, rng *mathrand.Rand) string {
	if i := rng.IntN(len(texts) + 1); i < len(texts) {
		return texts[i]
	}
	return ""
}

// idleGap is after how much silence the gate takes what it has read for whole. Every frame has a terminator: on a busy
// machine the lab may pause within one, so that it is long.
const idleGap = time.Second

// fidget has the reader send what it sends between codes, now and then, sometimes for long enough to stand alone.
func (d *door) fidget(ctx context.Context) error {
	if len(d.habit.between) == 0 || d.rng.IntN(4) > 0 {
		return nil
	}
	text := d.habit.between[d.rng.IntN(len(d.habit.between))]
	if err := d.line.send(ctx, []byte(text)); err != nil {
		return err
	}
	if d.rng.IntN(3) == 0 {
		pass(ctx, idleGap+idleGap/2)
	}
	return nil
}
