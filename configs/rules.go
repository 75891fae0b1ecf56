package configs

import (
	"fmt"
	"maps"
	"net"
	"net/url"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/kipass/kipass/drivers/framing"
	"github.com/kipass/kipass/internal/spelling"
	"github.com/kipass/kipass/protocol/visit"
)

// Languages lists the languages voice and screen have: ko first.
func Languages() []string { return []string{"ko", "en", "zh", "ja", "vi"} }

// commandNames lists what a reader can be told.
var commandNames = []string{
	"setup", "identify", "present", "manual", "enable", "disable", "trigger", "stop", "light_on", "light_off", "accepted", "refused",
}

const (
	maxWords = 120 // characters of one wording: more does not fit a screen
	maxLine  = 64  // of a line's name: the kernel has 31 for a name, or for a label before ":offset"
)

// values reports every value that may not be.
func (c *check) values(g *Gate) {
	c.tags(g)
	if g.Version < Version && c.has("version") {
		c.add("version", "is %d, must be %d", g.Version, Version)
	}
	c.place(g.Place)
	c.server(g.Server)
	c.duration("clock.skew", g.Clock.Skew, 0, 10*time.Second)
	if f := g.Journal.FreeFloor; f.wrong == "" && (f.Bytes < 1<<20 || f.Bytes > 1<<40) {
		c.add("journal.free_floor", "is %v, must be 1MiB to 1TiB", f)
	}
	for i, r := range g.Readers {
		c.reader(fmt.Sprintf("reader[%d]", i), r, g.Readers[:i])
	}
	c.lights(g.Lights, g.Readers)
	c.speaker(g.Speaker)
	c.lane("speaker.reader", g.Speaker.Reader, g.Readers)
	c.screen(g.Screen.Listen)
	c.words(g.Words)
}

// tags applies what the fields' tags say, and reports values whose text could not be read.
func (c *check) tags(g *Gate) {
	walk("", reflect.ValueOf(*g), func(path string, v reflect.Value, field reflect.StructField) {
		if j, ok := v.Interface().(judged); ok && j.flaw() != "" {
			c.add(path, "%s", j.flaw())
			return
		}
		if field.Tag.Get("required") == "yes" && (v.IsZero() || v.Kind() == reflect.Slice && v.Len() == 0) {
			c.missing(path, v)
			return
		}
		if list, ok := field.Tag.Lookup("oneof"); ok {
			allowed := strings.Split(list, "|")
			if text := fmt.Sprint(v.Interface()); !slices.Contains(allowed, text) {
				c.add(path, "is %q, must be one of %s%s", text, quoteAll(allowed), suggestion(text, allowed))
			}
		}
	})
}

func (c *check) missing(path string, v reflect.Value) {
	switch {
	case path == "version":
		c.add(path, "is missing; write version = %d at the top of the file", Version)
	case v.Kind() == reflect.Slice:
		c.add(path, "is missing; describe at least one with a section [[%s]]", path)
	case c.has(path):
		c.add(path, "may not be empty")
	default:
		c.add(path, "is missing")
	}
}

func quoteAll(texts []string) string {
	quoted := make([]string, len(texts))
	for i, text := range texts {
		quoted[i] = fmt.Sprintf("%q", text)
	}
	return strings.Join(quoted, ", ")
}

func suggestion(text string, allowed []string) string {
	if name := spelling.Nearest(text, allowed); name != "" && text != "" {
		return fmt.Sprintf("; did you mean %q?", name)
	}
	return ""
}

func (c *check) place(p Place) {
	if _, err := visit.ParseFacility(string(p.Facility)); err != nil && p.Facility != "" {
		c.add("gate.facility", "%v", err)
	}
	if _, err := visit.ParseGate(string(p.Name)); err != nil && p.Name != "" {
		c.add("gate.name", "%v", err)
	}
	if p.Runtime != "" && !filepath.IsAbs(p.Runtime) {
		c.add("gate.runtime", "must be an absolute path, such as \"/run/kipass\"")
	}
	if p.SecondLanguage != "" && p.SecondLanguage == p.Language {
		c.add("gate.second_language", "is the same as language; leave it empty for one language")
	}
}

func (c *check) server(s Server) {
	const key = "server.url"
	if s.URL != "" {
		u, err := url.Parse(s.URL)
		switch {
		case err != nil || u.Host == "" || u.Hostname() == "":
			c.add(key, "is no address; write for example \"https://visits.example.kr\"")
		case u.Scheme != "https":
			c.add(key, "must begin with https://, because visits travel only encrypted")
		case u.User != nil || u.RawQuery != "" || u.Fragment != "":
			c.add(key, "may hold neither a password, '?' nor '#'")
		}
	}
	code := s.EnrolmentCode.Reveal()
	if len(code) > 64 || strings.ContainsFunc(code, func(r rune) bool { return r <= ' ' || r > '~' }) {
		c.add("server.enrolment_code", "must be up to 64 letters, digits and marks without spaces, just as it was handed out")
	}
}

func (c *check) duration(path string, d Duration, low, high time.Duration) {
	switch {
	case d.wrong != "":
	case d.Duration < low || d.Duration > high:
		c.add(path, "is %v, must be %v to %v", d, low, high)
	case d.Duration%time.Millisecond != 0:
		c.add(path, "is %v, must be whole milliseconds", d)
	}
}

func (c *check) percent(path string, n int) {
	if n < 0 || n > 100 {
		c.add(path, "is %d, must be 0 to 100 per cent", n)
	}
}

func (c *check) reader(path string, r Reader, before []Reader) {
	if _, err := visit.ParseGate(r.Name); err != nil && r.Name != "" {
		c.add(path+".name", "%q may be 1 to 32 of a-z, 0-9 and '-'", r.Name)
	}
	if r.Name != "" && slices.ContainsFunc(before, func(b Reader) bool { return b.Name == r.Name }) {
		c.add(path+".name", "is %q, and so is another reader's; give each its own", r.Name)
	}
	c.frames(path, r)
	switch r.Kind {
	case "serial":
		c.serial(path, r)
	case "evdev":
		c.inputDevice(path, r)
	case "net":
		c.socket(path, r)
	}
	if r.Device != "" && slices.ContainsFunc(before, func(b Reader) bool { return samePlace(b.Device, r.Device) }) {
		c.add(path+".device", "is %s, and so is another reader's; two readers cannot share one", r.Device)
	}
	if r.Listen != "" && slices.ContainsFunc(before, func(b Reader) bool { return strings.EqualFold(b.Listen, r.Listen) }) {
		c.add(path+".listen", "is %s, and so is another reader's; two readers cannot share one", r.Listen)
	}
}

// samePlace tells whether two devices are one; names of input devices are no paths.
func samePlace(a, b string) bool {
	return a == b || filepath.IsAbs(a) && filepath.IsAbs(b) && filepath.Clean(a) == filepath.Clean(b)
}

// frames checks what readers of every kind have in common.
func (c *check) frames(path string, r Reader) {
	c.duration(path+".idle_gap", r.IdleGap, 10*time.Millisecond, framing.MaxGap)
	for key, text := range map[string]string{".prefix": r.Prefix, ".suffix": r.Suffix} {
		if len(text) > 16 {
			c.add(path+key, "is %d bytes long, may be 16", len(text))
		}
	}
}

// foreign reports keys that belong to another kind of reader.
func (c *check) foreign(path string, r Reader, kind string, keys ...string) {
	for _, key := range keys {
		if c.has(path + "." + key) {
			c.add(path+"."+key, "is for readers of kind %q; this one is %q", kind, r.Kind)
		}
	}
}

// noSocket reports keys of a socket where there is none.
func (c *check) noSocket(path string, r Reader) {
	for key, set := range map[string]bool{
		"listen": r.Listen != "", "users": len(r.Users) > 0, "socket_group": r.SocketGroup != "",
		"socket_mode": r.SocketMode != DefaultReader().SocketMode,
	} {
		if set {
			c.foreign(path, r, "net", key)
		}
	}
}

func (c *check) serial(path string, r Reader) {
	switch {
	case r.Device == "":
		c.missing(path+".device", reflect.ValueOf(r.Device))
	case !filepath.IsAbs(r.Device):
		c.add(path+".device", "is %q, must be an absolute path such as \"/dev/ttyACM0\"", r.Device)
	}
	c.noSocket(path, r)
	for name := range r.Commands {
		if !slices.Contains(commandNames, name) {
			c.add(path+".commands."+name, "is no command; there are %s%s", quoteAll(commandNames), suggestion(name, commandNames))
		}
	}
}

// lane checks that a device serves a reader there is.
func (c *check) lane(path, name string, readers []Reader) {
	var names []string
	for _, r := range readers {
		names = append(names, r.Name)
	}
	if name != "" && !slices.Contains(names, name) {
		c.add(path, "is %q, and no reader is called that; there are %s%s", name, quoteAll(names), suggestion(name, names))
	}
}

func (c *check) lights(sections []Lights, readers []Reader) {
	wired := map[string]string{} // line to the key that has it
	for i, l := range sections {
		path := fmt.Sprintf("lights[%d]", i)
		c.lane(path+".reader", l.Reader, readers)
		lines := l.Lines()
		if len(lines) == 0 {
			c.add(path, "names no line; give at least one of green, amber, red, buzzer and relay")
		}
		for _, key := range slices.Sorted(maps.Keys(lines)) {
			at, name := path+"."+key, lines[key]
			if len(name) > maxLine || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' }) {
				c.add(at, "must be up to %d letters, digits and marks without spaces, as gpioinfo shows it, for example \"GPIO17\"", maxLine)
			}
			if other := wired[name]; other != "" {
				c.add(at, "is %q, and so is %s; each needs a line of its own", name, other)
				continue
			}
			wired[name] = at
		}
		c.duration(path+".relay_pulse", l.RelayPulse, 10*time.Millisecond, 10*time.Second)
		c.duration(path+".relay_cool_down", l.RelayCoolDown, 0, 10*time.Second)
	}
}

// typable lists the terminators a keyboard has.
var typable = []string{"auto", "cr", "tab", "none"}

func (c *check) inputDevice(path string, r Reader) {
	const what = "write its path below /dev/input/by-id, its USB vendor and product such as \"0c2e:0b61\", or its name"
	switch device := strings.TrimSpace(r.Device); {
	case device == "":
		c.add(path+".device", "is missing; %s", what)
	case device != r.Device || strings.ContainsFunc(device, unicode.IsControl), strings.Contains(device, "/") && !filepath.IsAbs(device):
		c.add(path+".device", "is %q; %s", r.Device, what)
	}
	c.foreign(path, r, "serial", "baud", "model", "trigger", "light", "commands")
	c.noSocket(path, r)
	if !slices.Contains(typable, r.Terminator) {
		c.add(path+".terminator", "is %q, which no keyboard types; must be one of %s", r.Terminator, quoteAll(typable))
	}
}

func (c *check) speaker(s Speaker) {
	c.percent("speaker.volume", s.Volume)
	c.percent("speaker.quiet_hours.volume", s.QuietHours.Volume)
	c.duration("speaker.buffer", s.Buffer, 5*time.Millisecond, 500*time.Millisecond)
	q := s.QuietHours
	switch {
	case q.From.wrong != "" || q.To.wrong != "":
	case q.From.Set() != q.To.Set():
		c.add("speaker.quiet_hours", "needs both from and to")
	case q.On() && q.From == q.To:
		c.add("speaker.quiet_hours.to", "is the same as from; for silence all day write enabled = false in [speaker]")
	}
}

func (c *check) screen(listen string) {
	const key = "screen.listen"
	if listen == "" {
		return
	}
	c.loopback(key, listen, "127.0.0.1:8480", "the screen's pages are not for the network")
}

// loopback reports an address that is not of this device alone, and why it must be.
func (c *check) loopback(key, address, example, reason string) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		c.add(key, "is %q, must be an address and a port such as %q", address, example)
		return
	}
	if n, err := net.LookupPort("tcp", port); err != nil || n < 0 || strings.ContainsFunc(port, func(r rune) bool { return r < '0' || r > '9' }) {
		c.add(key, "has the port %q, must be a number from 0 to 65535", port)
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		c.add(key, "is %q, must be on this device alone: 127.0.0.1, [::1] or localhost; %s", address, reason)
	}
}

func (c *check) words(words map[string]map[string]string) {
	for language, table := range words {
		path := "words." + language
		if !slices.Contains(Languages(), language) {
			c.add(path, "is no language of the gate; there are %s", quoteAll(Languages()))
		}
		for key, text := range table {
			if _, err := visit.ParseOutcome(key); err != nil && key != "idle" {
				c.add(path+"."+key, "is no outcome%s", suggestion(key, outcomeNames()))
			}
			if n := utf8.RuneCountInString(text); strings.TrimSpace(text) == "" || n > maxWords || strings.ContainsFunc(text, unicode.IsControl) {
				c.add(path+"."+key, "must be 1 to %d characters on one line", maxWords)
			}
		}
	}
}

func outcomeNames() []string {
	names := []string{"idle"}
	for _, o := range visit.Outcomes() {
		names = append(names, o.String())
	}
	return names
}
