// Package configs holds the gate's configuration: what may stand in a gate.toml, its defaults, and strict loading that
// names every mistake with its line. The commented structs below are the manual; gate.example.toml shows them filled in
// and gate.schema.json is made from them for editors.
package configs

import (
	"log/slog"
	"maps"
	"time"

	"github.com/kipass/kipass/drivers/framing"
	"github.com/kipass/kipass/protocol/visit"
)

// Version is the only version of the format this program reads.
const Version = 1

// Gate is the configuration of one gate.
type Gate struct {
	// Version of this format; always 1. A file without it, or of a later version, is refused.
	Version int `toml:"version" required:"yes"`
	// Place says where the gate stands and how it speaks.
	Place Place `toml:"gate"`
	// Server is the visit server to which visits are synced.
	Server Server `toml:"server"`
	// Trust says whose list of code issuers is believed.
	Trust Trust `toml:"trust"`
	// Clock says how strictly the time of a code is judged.
	Clock Clock `toml:"clock"`
	// Journal is the store of visits on the gate's disk.
	Journal Journal `toml:"journal"`
	// Readers are the scanners, at least one.
	Readers []Reader `toml:"reader" required:"yes"`
	// Lights are the sets of lights, buzzer and gate relay on GPIO lines, none, one for all readers, or one for each lane.
	Lights []Lights `toml:"lights"`
	// Speaker is the gate's voice.
	Speaker Speaker `toml:"speaker"`
	// Screen is the visitor's screen and the technician's page.
	Screen Screen `toml:"screen"`
	// Words replaces what the screen says: language, then outcome code or "idle", then the words. What is not named
	// keeps its shipped wording.
	Words map[string]map[string]string `toml:"words"`
}

// Place is the section [gate].
type Place struct {
	// Facility is the facility's name at the visit server: 1 to 32 of a-z, 0-9 and '-'.
	Facility visit.Facility `toml:"facility" required:"yes"`
	// Name tells this gate from the facility's others: 1 to 32 of a-z, 0-9 and '-'.
	Name visit.Gate `toml:"name" required:"yes"`
	// State is the folder of the journal, certificate and trust list. A relative path counts from this file's folder.
	State string `toml:"state" required:"yes"`
	// Runtime is a folder that lies in memory, on tmpfs or ramfs, where the codes of the last minute and a half are
	// remembered over a restart of the gate, so that none is let in twice. Empty is systemd's RuntimeDirectory, or else
	// /run/kipass if that is there; a folder on a disk is refused.
	Runtime string `toml:"runtime"`
	// Language is what voice and screen speak first.
	Language string `toml:"language" oneof:"ko|en|zh|ja|vi"`
	// SecondLanguage is spoken and shown beneath the first; empty for none.
	SecondLanguage string `toml:"second_language" oneof:"|ko|en|zh|ja|vi"`
}

// Server is the section [server].
type Server struct {
	// URL of the visit server, https only, for example "https://visits.example.kr".
	URL string `toml:"url" required:"yes"`
	// CA is a PEM file with the certificate authority of the server; empty for those the system trusts. A relative path
	// counts from this file's folder.
	CA string `toml:"ca"`
	// EnrolmentCode is the one-time code the facility's owner was given. It is of no use once the gate has enrolled and
	// may then be removed.
	EnrolmentCode Secret `toml:"enrolment_code"`
}

// Trust is the section [trust].
type Trust struct {
	// Root is the scheme operator's Ed25519 public key, which signs the list of issuers: 32 bytes as hex or base64.
	Root PublicKey `toml:"root" required:"yes"`
}

// Clock is the section [clock].
type Clock struct {
	// Skew is how far phone and gate may disagree about the time of a code, "0s" to "10s", in whole milliseconds.
	Skew Duration `toml:"skew"`
	// Untrusted says what happens while the gate does not know the time: "record" visits marked as of unproven time, or
	// "refuse" them.
	Untrusted string `toml:"untrusted" oneof:"record|refuse"`
}

// Journal is the section [journal].
type Journal struct {
	// FreeFloor is the disk space that is always left free; below it the gate goes out of service rather than lose
	// visits. "1MiB" to "1TiB".
	FreeFloor Size `toml:"free_floor"`
}

// Reader is one section [[reader]].
type Reader struct {
	// Name of the reader in lights, log and faults, for example "front": 1 to 32 of a-z, 0-9 and '-'.
	Name string `toml:"name" required:"yes"`
	// Kind of connection: "serial" is a serial port or a USB reader that appears as one, "evdev" a scanner that appears
	// as a keyboard, "net" a scan service of this device that sends to a socket.
	Kind string `toml:"kind" oneof:"serial|evdev|net" required:"yes"`
	// Device of kind "serial" is the absolute path, for example "/dev/serial/by-id/usb-…-if00", which unlike
	// /dev/ttyACM0 stays the same. Of kind "evdev" it is the path below /dev/input/by-id, the USB vendor and product as
	// "0c2e:0b61", or the name as in /proc/bus/input/devices.
	Device string `toml:"device"`
	// Listen of kind "net" is where the scan service sends its codes, on this device alone: "tcp://127.0.0.1:58627",
	// "udp://127.0.0.1:58627" or, which no web page can reach, "unix:///run/kipass/scan.sock".
	Listen string `toml:"listen"`
	// Users of kind "net" says whose programs may send, by name or number; "any" is everybody. Left out it is root, the gate's
	// own user and those of services, but not people, as far as the kernel tells; with "unix://" and on Android everybody who
	// can connect.
	Users []string `toml:"users"`
	// SocketMode of kind "net" says who may connect to a socket "unix://", as chmod has it: "0600" the gate's own user, "0660"
	// its group too, "0666" everybody.
	SocketMode string `toml:"socket_mode" oneof:"0600|0660|0666"`
	// SocketGroup of kind "net" is the group of a socket "unix://"; empty is the gate's own.
	SocketGroup string `toml:"socket_group"`
	// Baud is the line speed of kind "serial"; of no effect with USB. A code of 200 characters takes 208 ms at 9600 and
	// 17 ms at 115200.
	Baud int `toml:"baud" oneof:"1200|2400|4800|9600|19200|38400|57600|115200|230400|460800|921600"`
	// Model of kind "serial" is the reader's family of commands; "generic" sends none.
	Model string `toml:"model" oneof:"generic|honeywell|zebra-ssi|grow|newland|datalogic"`
	// Trigger of kind "serial" says who starts a reading: "reader" senses a code by itself, "host" is triggered by the
	// gate while it is in service.
	Trigger string `toml:"trigger" oneof:"reader|host"`
	// Light of kind "serial" says what becomes of the reader's own lighting: "keep" leaves it as it is.
	Light string `toml:"light" oneof:"keep|on|off"`
	// Terminator ends a code: "auto" is any of the others or an idle gap, "none" is an idle gap alone. With kind
	// "evdev" "cr" is the Enter key, and there are neither "lf", "crlf" nor "etx".
	Terminator string `toml:"terminator" oneof:"auto|cr|lf|crlf|tab|etx|none"`
	// IdleGap is the silence after which a code without terminator counts as complete, "10ms" to "1s"; a serial line
	// notices none before "100ms".
	IdleGap Duration `toml:"idle_gap"`
	// Prefix is what the reader puts before each code and the gate takes away.
	Prefix string `toml:"prefix"`
	// Suffix is what the reader puts after each code, before the terminator, and the gate takes away.
	Suffix string `toml:"suffix"`
	// Commands of kind "serial" replaces single commands of the model by bytes in hex, for example trigger = "16 54
	// 0D"; empty means that it is not sent.
	Commands map[string]Bytes `toml:"commands"`
}

// Lights is one section [[lights]]. A line is written by its name in the kernel, for example "GPIO17", or as
// "label:offset" where its chip does not name its lines.
type Lights struct {
	// Reader is the name of the reader they serve; empty for all.
	Reader string `toml:"reader"`
	// Green is the line of the green light; empty for none.
	Green string `toml:"green"`
	// Amber is the line of the amber light; empty for none: the red light then stands for it.
	Amber string `toml:"amber"`
	// Red is the line of the red light; empty for none.
	Red string `toml:"red"`
	// Buzzer is the line of a buzzer, which sounds once for green, twice for amber, three times for red; empty for none.
	Buzzer string `toml:"buzzer"`
	// Active is the level of a line at which its light or buzzer is on. Prefer "high" with a pull-down: a "low" line is
	// on for some microseconds when the gate starts.
	Active string `toml:"active" oneof:"high|low"`
	// Relay is the line of the gate's relay; empty for none.
	Relay string `toml:"relay"`
	// RelayActive is the level at which the relay is on.
	RelayActive string `toml:"relay_active" oneof:"high|low"`
	// RelayPulse is how long the relay is on to open the gate, "10ms" to "10s".
	RelayPulse Duration `toml:"relay_pulse"`
	// RelayCoolDown is the least time between two pulses, "0s" to "10s"; a visitor admitted within it is let in at its end.
	RelayCoolDown Duration `toml:"relay_cool_down"`
}

// Lines returns the names of the lines that are wired, by key.
func (l Lights) Lines() map[string]string {
	lines := map[string]string{"green": l.Green, "amber": l.Amber, "red": l.Red, "buzzer": l.Buzzer, "relay": l.Relay}
	maps.DeleteFunc(lines, func(_, name string) bool { return name == "" })
	return lines
}

// Speaker is the section [speaker].
type Speaker struct {
	// Enabled turns the voice on.
	Enabled bool `toml:"enabled"`
	// Reader is the name of the reader whose outcomes are spoken; empty for all. Lanes share the one voice: a later
	// outcome cuts an earlier one short.
	Reader string `toml:"reader"`
	// Volume in per cent, 0 to 100.
	Volume int `toml:"volume"`
	// Buffer of the sound device, "5ms" to "500ms": shorter answers sooner, longer bears a busy machine.
	Buffer Duration `toml:"buffer"`
	// Clips is a folder with the venue's own recordings, which replace those shipped: ko/admitted.wav, tone/green.wav
	// and so on. A relative path counts from this file's folder.
	Clips string `toml:"clips"`
	// QuietHours lowers the voice every day between two times.
	QuietHours QuietHours `toml:"quiet_hours"`
}

// QuietHours is the section [speaker.quiet_hours]. It is off while From and To are empty.
type QuietHours struct {
	// From is the time of day it begins, for example "22:00".
	From TimeOfDay `toml:"from"`
	// To is the time of day it ends, for example "07:00".
	To TimeOfDay `toml:"to"`
	// Volume in per cent, 0 to 100, instead of the speaker's.
	Volume int `toml:"volume"`
}

// On reports whether there are quiet hours at all.
func (q QuietHours) On() bool { return q.From.Set() && q.To.Set() }

// Holds reports whether t, in its own time zone, falls into the quiet hours. To is the first minute after them.
func (q QuietHours) Holds(t time.Time) bool {
	if !q.On() {
		return false
	}
	m, from, to := t.Hour()*60+t.Minute(), q.From.Minutes(), q.To.Minutes()
	if from < to {
		return from <= m && m < to
	}
	return m >= from || m < to
}

// Screen is the section [screen].
type Screen struct {
	// Listen is the address of the screen's pages, loopback only: "127.0.0.1:8480", "[::1]:8480" or "localhost:8480".
	Listen string `toml:"listen" required:"yes"`
}

// Default returns the configuration of an empty file: everything that has a default has it.
func Default() Gate {
	return Gate{
		Place:   Place{State: "/var/lib/kipass-gate", Language: "ko"},
		Clock:   Clock{Skew: durationOf(2 * time.Second), Untrusted: "record"},
		Journal: Journal{FreeFloor: Size{Bytes: 64 << 20}},
		Speaker: Speaker{Enabled: true, Volume: 80, Buffer: durationOf(10 * time.Millisecond)},
		Screen:  Screen{Listen: "127.0.0.1:8480"},
	}
}

// DefaultReader returns what a [[reader]] section without any key amounts to.
func DefaultReader() Reader {
	return Reader{
		Kind: "serial", SocketMode: "0660", Baud: 115200, Model: "generic", Trigger: "reader", Light: "keep",
		Terminator: string(framing.Auto), IdleGap: durationOf(framing.DefaultGap),
	}
}

// DefaultLights returns what a [[lights]] section without any key amounts to.
func DefaultLights() Lights {
	half := durationOf(500 * time.Millisecond)
	return Lights{Active: "high", RelayActive: "high", RelayPulse: half, RelayCoolDown: half}
}

// Languages returns those of the voice, one or two, in order.
func (g Gate) Languages() []string {
	if g.Place.SecondLanguage == "" {
		return []string{g.Place.Language}
	}
	return []string{g.Place.Language, g.Place.SecondLanguage}
}

// LogValue tells what is worth a line in the log, and no secret.
func (g Gate) LogValue() slog.Value {
	return slog.GroupValue(
		slog.String("facility", string(g.Place.Facility)), slog.String("gate", string(g.Place.Name)),
		slog.String("state", g.Place.State), slog.String("server", g.Server.URL), slog.Int("readers", len(g.Readers)),
		slog.Int("lights", len(g.Lights)), slog.Bool("speaker", g.Speaker.Enabled), slog.String("screen", g.Screen.Listen))
}
