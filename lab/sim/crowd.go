package sim

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/kipass/kipass/issuer"
	"github.com/kipass/kipass/protocol/token"
)

// holder is one visitor.
type holder struct {
	issuer *issuerParty
	phone  string
	bearer string
}

// ticket is one code as its holder shows it.
type ticket struct {
	id     string // issuer and cti
	holder *holder
	text   string
	iat    time.Time
	used   bool
}

// presentation is one text shown to a gate.
type presentation struct {
	gate   *gateParty
	ticket *ticket // nil: no code at all
	at     time.Time
	shown  []shown
	first  bool // the ticket was not shown before
	lost   bool // the visit may be lost, for a reason that nobody can help
}

// crowd is the visitors of the facility, and what became of each of their codes in truth.
type crowd struct {
	w       *world
	holders []*holder
	// open are the presentations whose outcome may still come, by gate and time.
	open map[presentationKey]*presentation
	// admitted are the codes that a gate showed as admitted, with the moment they were read first.
	admitted map[string]*presentation
	// unsure are codes of which no visitor was told that they are recorded, and which may be: the gate failed meanwhile.
	unsure map[string]*presentation
}

type presentationKey struct {
	gate *gateParty
	at   int64
}

const (
	holdersOfIssuer = 12
	phonePrefix     = "+8210000" // of everybody's number
	namePrefix      = "방문자 "
)

func newCrowd(w *world) *crowd {
	c := &crowd{w: w, open: map[presentationKey]*presentation{}, admitted: map[string]*presentation{}, unsure: map[string]*presentation{}}
	for n, i := range w.issuers {
		for k := range holdersOfIssuer {
			c.holders = append(c.holders, &holder{issuer: i, phone: fmt.Sprintf("%s%d%04d", phonePrefix, n+1, k)})
		}
	}
	return c
}

// fetch gets a new code for the holder; an account that has ended is made anew.
func (c *crowd) fetch(h *holder) (*ticket, error) {
	for {
		issued, err := h.issuer.service.Issue(h.bearer)
		if errors.Is(err, issuer.ErrUnknown) || h.bearer == "" && err != nil {
			q := issuer.RegisterRequest{Name: namePrefix + h.phone[len(h.phone)-4:], Phone: h.phone, Consent: true}
			if h.bearer, err = h.issuer.service.Register(context.Background(), q); err != nil {
				return nil, err
			}
			continue
		}
		if err != nil {
			return nil, err
		}
		u, err := token.Parse([]byte(issued.Text))
		if err != nil {
			return nil, err
		}
		code, err := u.Verify(c.w.scheme.trust)
		if err != nil {
			return nil, err
		}
		cti := code.CTI()
		return &ticket{id: fmt.Sprintf("%s/%x", h.issuer.name, cti[:]), holder: c.really(h), text: issued.Text, iat: code.IssuedAt()}, nil
	}
}

// denied holds an issuer that gives a holder no code to having a reason.
func (c *crowd) denied(h *holder, err error) {
	if c.w.issues(h.issuer) {
		c.w.violated("issuer %s gives no code: %v", h.issuer.name, err)
	}
}

// visitor lets somebody come to a gate and behave in one of the ways people do.
func (c *crowd) visitor(g *gateParty) {
	rng := c.w.rng
	h := c.holders[rng.IntN(len(c.holders))]
	if rng.IntN(25) == 0 {
		c.show(g, nil, foreign[rng.IntN(len(foreign))], 3*time.Second)
		return
	}
	t, err := c.fetch(h)
	if err != nil {
		c.denied(h, err)
		return
	}
	time.Sleep(time.Duration(1000+rng.IntN(8000)) * time.Millisecond)
	switch rng.IntN(20) {
	case 0: // an old picture of it, a while later
		time.Sleep(time.Duration(60+rng.IntN(3600)) * time.Second)
		c.show(g, t, t.text, 3*time.Second)
	case 1: // one picture for six friends
		for range 6 {
			c.show(g, t, t.text, 2600*time.Millisecond)
		}
	case 2: // held out twice
		c.show(g, t, t.text, 3*time.Second)
		c.show(g, t, t.text, 3*time.Second)
	case 3: // at two lanes at once
		other := c.w.gates[rng.IntN(len(c.w.gates))]
		wait := 500 * time.Millisecond
		if other == g { // the same code within 2.5 s is one presentation
			wait = 3 * time.Second
		}
		c.show(g, t, t.text, wait)
		c.show(other, t, t.text, 3*time.Second)
	default:
		for range 3 { // with a new code each time it is refused
			p := c.show(g, t, t.text, 3*time.Second)
			if p == nil || p.outcome() != "expired" && p.outcome() != "out-of-service" {
				return
			}
			if t, err = c.fetch(h); err != nil {
				return
			}
			time.Sleep(3 * time.Second)
		}
	}
}

// visitorWho lets somebody come with a code and do something of their own with it.
func (c *crowd) visitorWho(g *gateParty, do func(*ticket)) {
	h := c.holders[c.w.rng.IntN(len(c.holders))]
	t, err := c.fetch(h)
	if err != nil {
		c.denied(h, err)
		return
	}
	time.Sleep(2 * time.Second)
	do(t)
}

var foreign = []string{
	"8801062518210", "https://example.kr/menu?table=7", strings.Repeat("MECARD:N:x;", 12), "KIP1:", "]Q1HELLO",
}

// show presents a text at a gate, waits, and holds what was shown to the promises. nil means that the gate was off.
func (c *crowd) show(g *gateParty, t *ticket, text string, wait time.Duration) *presentation {
	p := &presentation{gate: g, ticket: t}
	if t != nil {
		p.first, t.used = !t.used, true
	}
	var ok bool
	if p.at, ok = g.reader.show(text); !ok {
		time.Sleep(wait)
		return nil
	}
	c.w.report.Shown++
	c.open[presentationKey{g, p.at.UnixNano()}] = p
	time.Sleep(wait)
	c.collect(g)
	what := "a foreign code"
	if t != nil {
		what = "a code of " + t.holder.issuer.name
	}
	c.w.trace("%s is shown %s: %s", g.name, what, p.outcome())
	return p
}

// collect takes what a gate has shown and gives it to the presentations it answers.
func (c *crowd) collect(g *gateParty) {
	for _, s := range g.lamp.take() {
		p := c.open[presentationKey{g, s.began.UnixNano()}]
		if p == nil {
			c.w.violated("%s shows %v for a frame nobody showed", g.name, s.light)
			continue
		}
		p.shown = append(p.shown, s)
		c.w.judge(p, s)
	}
}

// outcome is the code of what the visitor was told; "silence" if nothing.
func (p *presentation) outcome() string {
	if len(p.shown) == 0 {
		return "silence"
	}
	_, name, _ := strings.Cut(p.shown[0].clip, "/")
	return name
}
