package configs

import (
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/kipass/kipass/visit"
)

// Languages lists the languages voice and screen have: ko first.
func Languages() []string { return []string{"ko", "en", "zh", "ja", "vi"} }

// commandNames lists what a reader can be told.
var commandNames = []string{
	"setup", "identify", "present", "manual", "enable", "disable", "trigger", "stop", "light_on", "light_off", "accepted", "refused",
}

const maxWords = 120 // characters of one wording: more does not fit a screen

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
	c.speaker(g.Speaker)
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
	if name := nearest(text, allowed); name != "" && text != "" {
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
	if r.Device != "" && slices.ContainsFunc(before, func(b Reader) bool { return filepath.Clean(b.Device) == filepath.Clean(r.Device) }) {
		c.add(path+".device", "is %s, and so is another reader's; two readers cannot share one", r.Device)
	}
	if r.Kind == "serial" {
		c.serial(path, r)
	}
}

func (c *check) serial(path string, r Reader) {
	if r.Device != "" && !filepath.IsAbs(r.Device) {
		c.add(path+".device", "is %q, must be an absolute path such as \"/dev/ttyACM0\"", r.Device)
	}
	c.duration(path+".idle_gap", r.IdleGap, 10*time.Millisecond, 2*time.Second)
	for key, text := range map[string]string{".prefix": r.Prefix, ".suffix": r.Suffix} {
		if len(text) > 16 {
			c.add(path+key, "is %d bytes long, may be 16", len(text))
		}
	}
	for name := range r.Commands {
		if !slices.Contains(commandNames, name) {
			c.add(path+".commands."+name, "is no command; there are %s%s", quoteAll(commandNames), suggestion(name, commandNames))
		}
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
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		c.add(key, "is %q, must be an address and a port such as \"127.0.0.1:8480\"", listen)
		return
	}
	if n, err := net.LookupPort("tcp", port); err != nil || n < 0 || strings.ContainsFunc(port, func(r rune) bool { return r < '0' || r > '9' }) {
		c.add(key, "has the port %q, must be a number from 0 to 65535", port)
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		c.add(key, "is %q, must be on this device alone: 127.0.0.1, [::1] or localhost; the screen's pages are not for the network", listen)
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
