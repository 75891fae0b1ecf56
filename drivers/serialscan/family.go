package serialscan

import (
	"time"

	"github.com/kipass/kipass/drivers/framing"
)

// Model names a family of readers that share their commands. docs/readers.md lists the families with their sources and
// how each was checked.
type Model string

const (
	Generic   Model = "generic"   // no commands: the reader is set up by scanning codes from its manual
	Honeywell Model = "honeywell" // also NCR, Canmax, Mindeo, older Datalogic
	ZebraSSI  Model = "zebra-ssi" // Zebra's Simple Serial Interface, packeted
	Grow      Model = "grow"      // GM65, GM812, Waveshare, Hamlet: commands that begin with 7E
	Newland   Model = "newland"   // EM3000
	Datalogic Model = "datalogic" // QD2300, Gryphon
)

// Models lists every model.
var Models = []Model{Generic, Honeywell, ZebraSSI, Grow, Newland, Datalogic}

// Commands are the byte strings sent to a reader and the answers looked for. In Options nil means the family's own and
// an empty slice that the command is not sent. All settings a family makes by itself are volatile: a reader's flash
// memory wears out, and a reader taken elsewhere is as it was.
type Commands struct {
	Setup    []byte // puts the reader into the mode in which the family talks; sent first
	Identify []byte // asks for a sign of life
	Present  []byte // lets the reader sense and read codes by itself (presentation mode)
	Manual   []byte // lets it read only when triggered
	Enable   []byte // permits reading
	Disable  []byte // forbids reading
	Trigger  []byte // starts a reading
	Stop     []byte // ends a reading
	LightOn  []byte
	LightOff []byte

	// Answers beside those the family knows; they may stand glued to a code. ZebraSSI has packets instead.
	Accepted []byte
	Refused  []byte
}

// replacedBy returns c with every field that is set in by taken from there.
func (c Commands) replacedBy(by Commands) Commands {
	for _, f := range []struct {
		own  *[]byte
		with []byte
	}{
		{&c.Setup, by.Setup}, {&c.Identify, by.Identify}, {&c.Present, by.Present}, {&c.Manual, by.Manual}, {&c.Enable, by.Enable},
		{&c.Disable, by.Disable}, {&c.Trigger, by.Trigger}, {&c.Stop, by.Stop}, {&c.LightOn, by.LightOn},
		{&c.LightOff, by.LightOff}, {&c.Accepted, by.Accepted}, {&c.Refused, by.Refused},
	} {
		if f.with != nil {
			*f.own = f.with
		}
	}
	return c
}

// decoder turns what arrives into frames and answers. It belongs to one session.
type decoder interface {
	push(at time.Time, p []byte)
	idle(now time.Time) // a wait for bytes ended in vain
}

// family is what a model means.
type family struct {
	bytes Commands
	// reply returns the matcher for the answer to one command of the family, or nil if none comes.
	reply func(sent []byte) matcher
	trail string // bytes of which one may follow an answer
	// newDecoder returns the family's decoder for a fresh connection.
	newDecoder func(rule framing.Rule, d *dialogue, frame func(framing.Frame)) decoder
	// prepare, where not nil, replaces the plain sending of a command of which bytes are not replaced in Options.
	prepare func(f family, p purpose) []command
}

// can tells whether the family has a command for p.
func (f family) can(p purpose) bool { return len(f.commands(p)) > 0 }

var families = map[Model]func() family{
	Generic:   func() family { return family{} },
	Honeywell: honeywell,
	ZebraSSI:  zebraSSI,
	Grow:      grow,
	Newland:   newland,
	Datalogic: datalogic,
}

func familyOf(opts Options) family {
	f := families[opts.Model]()
	own := f.reply
	f.bytes = f.bytes.replacedBy(opts.Commands)
	f.reply = func(sent []byte) matcher {
		var m matcher
		if own != nil {
			m = own(sent)
		}
		return either(exactly(f.bytes.Accepted, accepted), exactly(f.bytes.Refused, refused), m)
	}
	if f.newDecoder == nil {
		f.newDecoder = newStream
	}
	return f
}

// purpose names a command in Commands.
type purpose string

const (
	doSetup    purpose = "setup"
	doIdentify purpose = "identify"
	doPresent  purpose = "present"
	doManual   purpose = "manual"
	doEnable   purpose = "enable"
	doDisable  purpose = "disable"
	doTrigger  purpose = "trigger"
	doStop     purpose = "stop"
	doLightOn  purpose = "light on"
	doLightOff purpose = "light off"
)

func (c Commands) of(p purpose) []byte {
	return map[purpose][]byte{
		doSetup: c.Setup, doIdentify: c.Identify, doPresent: c.Present, doManual: c.Manual, doEnable: c.Enable, doDisable: c.Disable,
		doTrigger: c.Trigger, doStop: c.Stop, doLightOn: c.LightOn, doLightOff: c.LightOff,
	}[p]
}

// commands returns what is to be sent for p, which may be nothing.
func (f family) commands(p purpose) []command {
	if b := f.bytes.of(p); b != nil {
		if len(b) == 0 {
			return nil
		}
		return []command{{purpose: p, bytes: b, reply: f.reply(b)}}
	}
	if f.prepare != nil {
		return f.prepare(f, p)
	}
	return nil
}

// plan returns everything that brings the reader into the state wished for.
func (f family) plan(opts Options, active bool) []command {
	steps := []purpose{doSetup, doIdentify}
	switch opts.Light {
	case LightOn:
		steps = append(steps, doLightOn)
	case LightOff:
		steps = append(steps, doLightOff)
	}
	switch {
	case active && opts.Trigger == TriggerHost:
		steps = append(steps, doEnable, doManual, doTrigger)
	case active:
		steps = append(steps, doEnable, doPresent)
	case opts.Trigger == TriggerHost:
		steps = append(steps, doStop, doDisable)
	default:
		steps = append(steps, doDisable)
	}
	var all []command
	for _, p := range steps {
		all = append(all, f.commands(p)...)
	}
	return all
}
