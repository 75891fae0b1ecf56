package chain

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"slices"
	"time"

	"github.com/kipass/kipass/firmware/replay"
	"github.com/kipass/kipass/protocol/token"
	"github.com/kipass/kipass/protocol/visit"
)

const (
	patience     = 5 * time.Minute        // after this long without any outcome the run is given up
	glance       = time.Second            // how often a visitor who waits looks whether the gate was started anew
	answerWithin = 2 * time.Second        // after this a gate whose disk has not answered is out of service for a visitor
	staleAge     = 50 * time.Second       // past 15 s and any skew allowance, even that of a gate that has just lost the time
	againAfter   = 3 * time.Second        // past the time in which the same bytes are one presentation
	againBefore  = 9 * time.Second        // while an admitted code is surely still fresh
	echoWindow   = 700 * time.Millisecond // how long a held code is watched for a second outcome
	heldGap      = 2 * time.Second        // reads of a held code closer than this are surely one presentation
	stockOfStale = 4
	greenLimit   = 3 * time.Second // after the last byte of its code nothing is shown green
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
	steady     func(func() error) error   // does something while the gate is up and is not killed
	frail      bool                       // the gate is killed: what it was to read is lost, or read by the next
	habit      habit                      // of the reader
	troubled   *trouble                   // with the gate's disk: it may be out of service
	clock      ClockFault                 // if there is one, an old code is not sure to be refused
	heard      testimony                  // what the gate has heard since its start
	delays     *delays                    // of the lab itself
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
	if err := d.fidget(ctx); err != nil {
		return err
	}
	switch a {
	case actAgain:
		if prior, ok := d.readmit(); ok {
			return d.again(ctx, prior)
		}
		return d.enter(ctx, actEntry)
	case actStale:
		if time.Since(d.stock[0].issued) < staleAge || d.clock.Party != "" || !d.knowsTime(ctx) {
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
		text, err := d.unknown()
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

// unknown makes a well-formed code of an issuer that nobody knows.
func (d *door) unknown() (string, error) {
	var cti token.CTI
	rand.Read(cti[:])
	return token.Sign(d.strange, "nobody", time.Now(), cti)
}

// enter is a visitor with a fresh code, held in front of the reader or shown once.
func (d *door) enter(ctx context.Context, a act) error {
	holder, code, err := d.visitor(ctx)
	if err != nil {
		return err
	}
	held := heldCode{code: code.text}
	send := func() error { return d.send(ctx, code.text) }
	if a == actHeld {
		send = func() error { return held.send(ctx, d) }
	}
	missed := func() { d.truth.missed(holder.name, holder.number) }
	p, err := d.present(ctx, presentation{held: a == actHeld, send: send, missed: missed})
	if err != nil {
		return err
	}
	expected := d.excused(p, visit.Admitted, &admitted{phone: holder, code: code})
	apart := held.gap >= heldGap
	if p.tries > 1 || a == actHeld && (p.restarted || apart) { // an outcome was missed, or the code was presented twice
		expected = append(expected, visit.AdmittedAgain, visit.CodeUsed)
	}
	if code.old() {
		expected = append(expected, visit.Expired)
	}
	d.truth.saw(a, p.outcomes, expected, holder.name, holder.number)
	if slices.ContainsFunc(p.outcomes, visit.Outcome.Green) {
		d.recent = append(d.recent, admitted{holder, code, time.Now(), d.viewer.begun()})
	}
	if a == actHeld && !p.restarted && !apart {
		if second, ok := d.viewer.next(ctx, echoWindow); ok {
			d.truth.saw(a, []visit.Outcome{second.outcome}, []visit.Outcome{visit.Admitted}, "", "")
			return fmt.Errorf("a held code caused a second outcome, %v", second.outcome)
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
	p, err := d.present(ctx, presentation{send: func() error { return d.send(ctx, prior.code.text) }})
	if err != nil {
		return err
	}
	expected := d.excused(p, visit.CodeUsed, &prior)
	if recent { // when it was sent; on a busy machine it may have been read later
		expected = append(expected, visit.AdmittedAgain)
	}
	if d.viewer.begun() != prior.generation && !d.remembers { // the gate, over its restart; the server does
		expected = append(expected, visit.Admitted)
	}
	if prior.code.old() {
		expected = append(expected, visit.Expired)
	}
	d.truth.saw(actAgain, p.outcomes, expected, prior.phone.name, prior.phone.number)
	return nil
}

// show shows something that is not to be admitted.
func (d *door) show(ctx context.Context, a act, text string, want visit.Outcome) error {
	p, err := d.present(ctx, presentation{send: func() error { return d.send(ctx, text) }, unknown: a == actUnknown})
	if err != nil {
		return err
	}
	d.truth.saw(a, p.outcomes, d.excused(p, want, nil), "", "")
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

// send writes what the reader would send for a code.
func (d *door) send(ctx context.Context, text string) error {
	return d.line.send(ctx, []byte(d.habit.dress(text, d.rng)))
}
