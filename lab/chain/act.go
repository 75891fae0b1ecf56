package chain

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"time"

	"github.com/kipass/kipass/firmware/replay"
	"github.com/kipass/kipass/protocol/token"
	"github.com/kipass/kipass/protocol/visit"
)

const (
	patience     = 5 * time.Minute        // after this long without any outcome the run is given up
	lookFor      = 10 * time.Second       // before a gate that may have flushed the frame away is shown the code again
	glance       = time.Second            // how often a visitor who waits looks whether the gate was started anew
	staleAge     = 50 * time.Second       // past 15 s and any skew allowance, even that of a gate that has just lost the time
	againAfter   = 3 * time.Second        // past the time in which the same bytes are one presentation
	againBefore  = 9 * time.Second        // while an admitted code is surely still fresh
	echoWindow   = 700 * time.Millisecond // how long a held code is watched for a second outcome
	heldGap      = 2 * time.Second        // reads of a held code closer than this are surely one presentation
	stockOfStale = 4
)

// door is the place in front of the gate's reader, where visitors act one after the other.
type door struct {
	line       *line
	viewer     *viewer
	truth      *truth
	issuers    []*issuerService
	strange    ed25519.PrivateKey // a key nobody trusts
	rng        *mathrand.Rand
	generation func() int                 // how often the gate was started
	frail      bool                       // the gate is killed now and then: a frame may be lost, and is shown again
	remembers  bool                       // whether a gate that was killed knows the codes of before
	knowsTime  func(context.Context) bool // whether the gate's clock is trusted: only then is an old code sure to be refused

	visitors   int
	foreigners int         // barcodes of other kinds shown so far
	stock      []shownCode // codes growing old
	recent     []admitted
}

type admitted struct {
	phone      *phone
	code       shownCode
	at         time.Time
	generation int
}

// visitor registers the next visitor with one of the issuers and fetches a code.
func (d *door) visitor(ctx context.Context) (*phone, shownCode, error) {
	name, number := person(d.visitors)
	d.visitors++
	p, err := d.issuers[d.rng.IntN(len(d.issuers))].register(ctx, name, number)
	if err != nil {
		return nil, shownCode{}, err
	}
	code, err := p.fetch(ctx)
	return p, code, err
}

// age puts codes aside that will be shown too late.
func (d *door) age(ctx context.Context) error {
	for len(d.stock) < stockOfStale {
		_, code, err := d.visitor(ctx)
		if err != nil {
			return err
		}
		d.stock = append(d.stock, code)
	}
	return nil
}

// perform does one act, which ends in exactly one outcome seen. An act that cannot be done yet becomes an entry.
func (d *door) perform(ctx context.Context, a act) error {
	if err := d.age(ctx); err != nil {
		return err
	}
	switch a {
	case actAgain:
		if prior, ok := d.readmit(); ok {
			return d.again(ctx, prior)
		}
		return d.enter(ctx, actEntry)
	case actStale:
		if time.Since(d.stock[0].issued) < staleAge || !d.knowsTime(ctx) {
			return d.enter(ctx, actEntry)
		}
		code := d.stock[0]
		d.stock = d.stock[1:]
		return d.show(ctx, a, code.text, visit.Expired)
	case actTorn:
		_, code, err := d.visitor(ctx)
		if err != nil {
			return err
		}
		return d.show(ctx, a, code.text[:len(code.text)/2+d.rng.IntN(len(code.text)/3)], visit.NotACode)
	case actForeign:
		text := foreign[d.foreigners%len(foreign)]
		d.foreigners++
		return d.show(ctx, a, text, visit.NotACode)
	case actForged:
		text, err := d.forge(ctx)
		if err != nil {
			return err
		}
		return d.show(ctx, a, text, visit.NotGenuine)
	case actUnknown:
		var cti token.CTI
		rand.Read(cti[:])
		text, err := token.Sign(d.strange, "nobody", time.Now(), cti)
		if err != nil {
			return err
		}
		return d.show(ctx, a, text, visit.UnknownIssuer)
	default:
		return d.enter(ctx, a)
	}
}

// foreign are barcodes of other kinds that people hold in front of a gate. They are shown in turn: the same one again within
// 2.5 s would be the same presentation, and have no outcome of its own.
var foreign = []string{
	"8801062518210", "https://example.com/menu?table=7", "WIFI:T:WPA;S:cafe;P:x;;", "KIP1:", "KIP2:6BF", "HC1:NCFOXN%TS3DH",
	"\x00\xff\xfe\x80garbage\x01", "BEGIN:VCARD FN:x END:VCARD",
}

// forge puts the end of one code's signature behind another's.
func (d *door) forge(ctx context.Context) (string, error) {
	p, a, err := d.visitor(ctx)
	if err != nil {
		return "", err
	}
	b, err := p.fetch(ctx)
	if err != nil {
		return "", err
	}
	if len(a.text) != len(b.text) {
		return "", errors.New("two codes of one phone differ in length")
	}
	const tail = 12 // whole groups of base45, all of them signature
	cut := len(a.text) - tail
	return a.text[:cut] + b.text[cut:], nil
}

// enter is a visitor with a fresh code, held in front of the reader or shown once.
func (d *door) enter(ctx context.Context, a act) error {
	p, code, err := d.visitor(ctx)
	if err != nil {
		return err
	}
	held := heldCode{code: code.text}
	send := func() error { return d.send(ctx, code.text) }
	if a == actHeld {
		send = func() error { return held.send(ctx, d) }
	}
	generation := d.generation()
	o, tries, err := d.present(ctx, send, func() { d.truth.missed(p.name, p.number) })
	if err != nil {
		return err
	}
	expected := []visit.Outcome{visit.Admitted}
	if tries > 1 { // an outcome was missed: the code may have been taken
		expected = append(expected, visit.AdmittedAgain, visit.CodeUsed)
	}
	if code.old() {
		expected = append(expected, visit.Expired)
	}
	restarted := d.generation() != generation
	if restarted { // the gate that began to read the frame is gone, the next one reads the rest of it
		expected = append(expected, visit.NotACode)
	}
	d.truth.saw(a, o, expected, p.name, p.number)
	if o.Green() {
		d.recent = append(d.recent, admitted{p, code, time.Now(), d.generation()})
	}
	if a == actHeld && !restarted && held.gap < heldGap {
		if second, ok := d.viewer.next(ctx, echoWindow); ok {
			d.truth.saw(a, second, []visit.Outcome{visit.Admitted}, "", "")
			return fmt.Errorf("a held code caused a second outcome, %v", second)
		}
	}
	return nil
}

// readmit returns an admitted visitor whose code can be shown again now.
func (d *door) readmit() (admitted, bool) {
	for len(d.recent) > 0 && time.Since(d.recent[0].code.issued) > againBefore {
		d.recent = d.recent[1:]
	}
	if len(d.recent) == 0 || time.Since(d.recent[0].at) < againAfter {
		return admitted{}, false
	}
	prior := d.recent[0]
	d.recent = d.recent[1:]
	return prior, true
}

func (d *door) again(ctx context.Context, prior admitted) error {
	recent := time.Since(prior.at) < replay.RecentFor
	o, _, err := d.present(ctx, func() error { return d.send(ctx, prior.code.text) }, func() {})
	if err != nil {
		return err
	}
	expected := []visit.Outcome{visit.CodeUsed}
	if recent { // when it was sent; on a busy machine it may have been read later
		expected = append(expected, visit.AdmittedAgain)
	}
	if d.generation() != prior.generation {
		expected = append(expected, visit.NotACode)
		if !d.remembers { // the gate, over its restart; the server does
			expected = append(expected, visit.Admitted)
		}
	}
	if prior.code.old() {
		expected = append(expected, visit.Expired)
	}
	d.truth.saw(actAgain, o, expected, prior.phone.name, prior.phone.number)
	return nil
}

// show shows something that is not to be admitted.
func (d *door) show(ctx context.Context, a act, text string, want visit.Outcome) error {
	generation := d.generation()
	o, _, err := d.present(ctx, func() error { return d.send(ctx, text) }, func() {})
	if err != nil {
		return err
	}
	expected := []visit.Outcome{want}
	if d.generation() != generation {
		expected = append(expected, visit.NotACode)
	}
	d.truth.saw(a, o, expected, "", "")
	return nil
}

// heldCode is a code held in front of the reader, which reads it several times. gap is the longest time between two reads.
type heldCode struct {
	code string
	gap  time.Duration
}

func (h *heldCode) send(ctx context.Context, d *door) error {
	for began, i := time.Now(), 0; i < 4; i++ {
		if err := d.send(ctx, h.code); err != nil {
			return err
		}
		h.gap = max(h.gap, time.Since(began)) // from before the last read to after this one: never too short
		began = time.Now()
	}
	return nil
}

// present sends until an outcome is seen; missed is told of every time none was.
func (d *door) present(ctx context.Context, send func() error, missed func()) (o visit.Outcome, tries int, err error) {
	for began := time.Now(); time.Since(began) < patience; {
		d.viewer.clear()
		generation := d.generation()
		if err := send(); err != nil {
			return o, tries, err
		}
		tries++
		for sent := time.Now(); !d.lost(sent, generation) && time.Since(began) < patience; {
			if o, ok := d.viewer.next(ctx, glance); ok {
				return o, tries, nil
			}
			if ctx.Err() != nil {
				return o, tries, ctx.Err()
			}
		}
		missed()
	}
	return o, tries, fmt.Errorf("the gate showed nothing for %v; see the gate's log", patience)
}

// lost reports whether a frame can be taken for lost: the gate that was to read it is gone, or flushed it away as it opened
// the line. A gate that nobody kills reads every frame, however long that takes.
func (d *door) lost(sent time.Time, generation int) bool {
	return d.frail && (d.generation() != generation || time.Since(sent) > lookFor)
}

// endings are what readers put behind a code.
var endings = []string{"\r", "\n", "\r\n"}

// send writes what a reader would send for a code, now and then with the AIM identifier of a QR code before it.
func (d *door) send(ctx context.Context, text string) error {
	frame := text + endings[d.rng.IntN(len(endings))]
	if d.rng.IntN(4) == 0 {
		frame = "]Q1" + frame
	}
	return d.line.send(ctx, []byte(frame))
}
