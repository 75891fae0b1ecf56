package configs_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/kipass/kipass/configs"
	"github.com/kipass/kipass/internal/testkit"
)

// minimal holds only what has no default.
const minimal = `version = 1
[gate]
facility = "cafe"
name = "door"
[server]
url = "https://visits.example.kr"
[trust]
root = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
[[reader]]
name = "front"
device = "/dev/ttyACM0"
`

func TestMinimalFileGetsTheDefaults(t *testing.T) {
	got, err := configs.Parse("gate.toml", []byte(minimal))
	testkit.Check(t, err)
	want, reader := configs.Default(), configs.DefaultReader()
	reader.Name, reader.Device = "front", "/dev/ttyACM0"
	if g, w := fmt.Sprintf("%+v", got.Readers), fmt.Sprintf("%+v", []configs.Reader{reader}); g != w {
		t.Errorf("readers = %s, want %s", g, w)
	}
	if got.Clock != want.Clock || got.Journal != want.Journal || got.Speaker != want.Speaker || got.Screen != want.Screen {
		t.Errorf("got %+v, want the defaults %+v", got, want)
	}
	if got.Place.State != "/var/lib/kipass-gate" || got.Place.Language != "ko" {
		t.Errorf("gate = %+v", got.Place)
	}
	if len(got.Trust.Root.Key()) != 32 || got.Trust.Root.Key()[0] != 0xd7 {
		t.Errorf("root = %x", got.Trust.Root.Key())
	}
}

func TestEveryKeyIsRead(t *testing.T) {
	got, err := configs.Parse("/etc/kipass/gate.toml", []byte(`version = 1
[gate]
facility = "cafe"
name = "door"
state = "state"
language = "en"
second_language = "vi"
[server]
url = "https://visits.example.kr:8443/base"
ca = "ca.pem"
enrolment_code = "ABCD-EFGH"
[trust]
root = "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
[clock]
skew = "1500ms"
untrusted = "refuse"
[journal]
free_floor = "1GiB"
[[reader]]
name = "front"
device = "/dev/ttyACM0"
[reader.commands]
trigger = "16 54 0D"
[[reader]]
name = "back"
kind = "serial"
device = "/dev/ttyUSB0"
baud = 9600
model = "honeywell"
terminator = "crlf"
idle_gap = "30ms"
prefix = "A"
suffix = "Z"
[[reader]]
name = "built-in"
kind = "evdev"
device = "0c2e:0b61"
terminator = "tab"
[[reader]]
name = "service"
kind = "net"
listen = "udp://[::1]:58627"
users = ["scanner", "1000"]
[[reader]]
name = "socket"
kind = "net"
listen = "unix:///run/kipass/scan.sock"
socket_mode = "0600"
socket_group = "scan"
[[lights]]
relay = "GPIO5"
[[lights]]
reader = "back"
green = "GPIO17"
amber = "GPIO27"
red = "pinctrl-rp1:22"
buzzer = "GPIO23"
active = "low"
relay = "GPIO24"
relay_active = "low"
relay_pulse = "2s"
relay_cool_down = "0s"
[speaker]
enabled = false
reader = "front"
volume = 10
buffer = "50ms"
clips = "clips"
quiet_hours = { from = "22:00", to = "07:00", volume = 5 }
[screen]
listen = "[::1]:0"
[words.ko]
idle = "어서 오세요"
`))
	testkit.Check(t, err)
	back := got.Readers[1]
	for _, c := range []struct {
		key       string
		got, want any
	}{
		{"gate.state", got.Place.State, "/etc/kipass/state"},
		{"gate.language", got.Place.Language + got.Place.SecondLanguage, "envi"},
		{"server.ca", got.Server.CA, "/etc/kipass/ca.pem"},
		{"server.url", got.Server.URL, "https://visits.example.kr:8443/base"},
		{"server.enrolment_code", got.Server.EnrolmentCode.Reveal(), "ABCD-EFGH"},
		{"trust.root", fmt.Sprintf("%x", got.Trust.Root.Key()), "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"},
		{"clock.skew", got.Clock.Skew.Duration, 1500 * time.Millisecond},
		{"clock.untrusted", got.Clock.Untrusted, "refuse"},
		{"journal.free_floor", got.Journal.FreeFloor.Bytes, int64(1 << 30)},
		{"reader[0].commands.trigger", string(got.Readers[0].Commands["trigger"].Raw), "\x16T\r"},
		{"reader[1]", fmt.Sprint(back.Name, back.Device, back.Baud, back.Model, back.Terminator, back.IdleGap, back.Prefix, back.Suffix), "back/dev/ttyUSB09600honeywellcrlf30msAZ"},
		{"lights[0]", fmt.Sprint(got.Lights[0]), "{     high GPIO5 high 500ms 500ms}"},
		{"lights[1]", fmt.Sprint(got.Lights[1]), "{back GPIO17 GPIO27 pinctrl-rp1:22 GPIO23 low GPIO24 low 2s 0s}"},
		{"speaker.reader", got.Speaker.Reader, "front"},
		{"reader[2]", fmt.Sprint(got.Readers[2].Kind, got.Readers[2].Device, got.Readers[2].Terminator), "evdev0c2e:0b61tab"},
		{"reader[3]", fmt.Sprint(got.Readers[3].Kind, got.Readers[3].Device, got.Readers[3].Listen), "netudp://[::1]:58627"},
		{"reader[3].users", fmt.Sprint(got.Readers[3].Users, got.Readers[3].SocketMode), "[scanner 1000]0660"},
		{"reader[4]", fmt.Sprint(got.Readers[4].Listen, got.Readers[4].SocketMode, got.Readers[4].SocketGroup), "unix:///run/kipass/scan.sock0600scan"},
		{"speaker", fmt.Sprint(got.Speaker.Enabled, got.Speaker.Volume, got.Speaker.Buffer), "false 10 50ms"},
		{"speaker.clips", got.Speaker.Clips, "/etc/kipass/clips"},
		{"speaker.quiet_hours", fmt.Sprint(got.Speaker.QuietHours.From.Minutes(), got.Speaker.QuietHours.To.Minutes(), got.Speaker.QuietHours.Volume), "1320 420 5"},
		{"screen.listen", got.Screen.Listen, "[::1]:0"},
		{"words.ko.idle", got.Words["ko"]["idle"], "어서 오세요"},
	} {
		if c.got != c.want {
			t.Errorf("%s = %v, want %v", c.key, c.got, c.want)
		}
	}
}

func TestMistakesAreNamedWithLineAndRemedy(t *testing.T) {
	for _, c := range []struct {
		rule     string
		old, new string // put into the minimal file
		want     string // regular expression on the whole error
	}{
		{"a version must stand", "version = 1\n", "", `(?m)^gate.toml: version: is missing; write version = 1`},
		{"version 0 is refused", "version = 1", "version = 0", `gate.toml:1: version: .*1`},
		{"a later version is refused alone", "version = 1", "version = 2\nnovel = 3", `^gate.toml:1: version: is 2, but this program reads version 1; install a newer kipass-gate$`},
		{"an unknown key gets a suggestion", "name = \"door\"", "nmae = \"door\"", `(?m)^gate.toml:4: gate.nmae: there is no such key; did you mean "name"\?$`},
		{"keys are case-sensitive", "facility =", "Facility =", `gate.toml:3: gate.Facility: there is no such key; did you mean "facility"\?`},
		{"an unknown section gets a suggestion", "[server]", "[sever]", `gate.toml:5: sever: there is no such key; did you mean "server"\?`},
		{"a key of another section is sent there", "name = \"door\"", "name = \"door\"\nenrolment_code = \"x\"", `gate.toml:5: gate.enrolment_code: .* belongs in the section \[server\]`},
		{"a quoted dotted key is no path", "version = 1", "version = 1\n\"gate.name\" = \"x\"", `gate.toml:2: .*there is no such key`},
		{"an unknown key of a reader has its line", "[[reader]]", "[[reader]]\nbuad = 9600", `gate.toml:10: reader\[0\].buad: .*"baud"`},
		{"text for a number", "[[reader]]", "[[reader]]\nbaud = \"9600\"", `gate.toml:10: reader\[0\].baud: must be a whole number without quotes`},
		{"number for text", "name = \"door\"", "name = 1", `gate.toml:4: gate.name: must be a text in quotes`},
		{"a section for a value", "[server]", "[version]", `(?s)gate.toml.*`},
		{"single brackets for a reader", "[[reader]]", "[reader]", `gate.toml:9: reader: may stand several times: write \[\[reader\]\]`},
		{"double brackets for a section", "[server]", "[[server]]", `gate.toml:5: server: is a section: write \[server\]`},
		{"broken syntax has its line", "facility =", "facility", `gate.toml:3: `},
		{"a doubled key", "name = \"door\"", "name = \"door\"\nname = \"hall\"", `(?s)gate.toml.*name`},
		{"a facility must stand", "facility = \"cafe\"\n", "", `gate.toml:2: gate.facility: is missing`},
		{"a facility may not be empty", `"cafe"`, `""`, `gate.toml:3: gate.facility: may not be empty`},
		{"a facility is of a-z", `"cafe"`, `"Café"`, `gate.toml:3: gate.facility: .*a-z`},
		{"a gate is of a-z", `"door"`, `"1층"`, `gate.toml:4: gate.name: .*a-z`},
		{"a language exists", "name = \"door\"", "name = \"door\"\nlanguage = \"kr\"", `gate.toml:5: gate.language: is "kr", must be one of "ko", .*did you mean "ko"`},
		{"two languages differ", "name = \"door\"", "name = \"door\"\nsecond_language = \"ko\"", `gate.toml:5: gate.second_language: is the same`},
		{"the server is https", "https://", "http://", `gate.toml:6: server.url: must begin with https://`},
		{"the server has a host", "https://visits.example.kr", "https://", `gate.toml:6: server.url: is no address`},
		{"the server has no password", "visits.example", "u:p@visits.example", `gate.toml:6: server.url: may hold neither`},
		{"an enrolment code has no spaces", "[trust]", "enrolment_code = \"my secret\"\n[trust]", `gate.toml:7: server.enrolment_code: must be`},
		{"the root is a key", "d75a98", "d75a", `gate.toml:8: trust.root: not an Ed25519 public key`},
		{"the root is somebody's key", "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", strings.Repeat("00", 32), `gate.toml:8: trust.root: public key is of small order`},
		{"the root must stand", "root =", "# root =", `gate.toml:7: trust.root: is missing`},
		{"skew has a limit", "[trust]", "[clock]\nskew = \"11s\"\n[trust]", `gate.toml:8: clock.skew: is 11s, must be 0s to 10s`},
		{"skew is in milliseconds", "[trust]", "[clock]\nskew = \"1us\"\n[trust]", `gate.toml:8: clock.skew: .*whole milliseconds`},
		{"skew is a length of time", "[trust]", "[clock]\nskew = \"2\"\n[trust]", `gate.toml:8: clock.skew: "2" is no length of time`},
		{"the clock's policy exists", "[trust]", "[clock]\nuntrusted = \"ignore\"\n[trust]", `gate.toml:8: clock.untrusted: .*"record", "refuse"`},
		{"the floor is a size", "[trust]", "[journal]\nfree_floor = \"64\"\n[trust]", `gate.toml:8: journal.free_floor: "64" is no size`},
		{"the floor has limits", "[trust]", "[journal]\nfree_floor = \"1KiB\"\n[trust]", `gate.toml:8: journal.free_floor: is 1KiB, must be 1MiB`},
		{"the floor does not overflow", "[trust]", "[journal]\nfree_floor = \"9000000000TiB\"\n[trust]", `gate.toml:8: journal.free_floor: .* is no size`},
		{"there is a reader", "[[reader]]\nname = \"front\"\ndevice = \"/dev/ttyACM0\"\n", "", `gate.toml: reader: is missing; describe at least one with a section \[\[reader\]\]`},
		{"a reader has a device", "device = \"/dev/ttyACM0\"\n", "", `gate.toml:9: reader\[0\].device: is missing`},
		{"a reader's name is of a-z", "front", "Front Door", `gate.toml:10: reader\[0\].name: `},
		{"a device is an absolute path", "/dev/ttyACM0", "COM3", `gate.toml:11: reader\[0\].device: .*absolute path`},
		{"readers have names of their own", "[[reader]]", "[[reader]]\nname = \"front\"\ndevice = \"/dev/ttyUSB1\"\n[[reader]]", `gate.toml:13: reader\[1\].name: is "front", and so is another`},
		{"readers have devices of their own", "[[reader]]", "[[reader]]\nname = \"back\"\ndevice = \"/dev//ttyACM0\"\n[[reader]]", `gate.toml:14: reader\[1\].device: .* cannot share`},
		{"a kind exists", "[[reader]]", "[[reader]]\nkind = \"seral\"", `gate.toml:10: reader\[0\].kind: .*"serial"`},
		{"a reader of kind evdev has a device", "device = \"/dev/ttyACM0\"", "kind = \"evdev\"", `gate.toml:9: reader\[0\].device: is missing; write its path below /dev/input/by-id`},
		{"a device of kind evdev is no relative path", "device = \"/dev/ttyACM0\"", "kind = \"evdev\"\ndevice = \"input/event3\"", `gate.toml:12: reader\[0\].device: is "input/event3"; write`},
		{"a line speed is for kind serial", "device = \"/dev/ttyACM0\"", "kind = \"evdev\"\ndevice = \"Scanner\"\nbaud = 9600", `gate.toml:13: reader\[0\].baud: is for readers of kind "serial"; this one is "evdev"`},
		{"a model is for kind serial", "device = \"/dev/ttyACM0\"", "kind = \"net\"\nlisten = \"tcp://127.0.0.1:1\"\nmodel = \"grow\"", `gate.toml:13: reader\[0\].model: is for readers of kind "serial"`},
		{"commands are for kind serial", "device = \"/dev/ttyACM0\"", "kind = \"evdev\"\ndevice = \"Scanner\"\ncommands.trigger = \"16\"", `reader\[0\].commands: is for readers of kind "serial"`},
		{"a keyboard types no line feed", "device = \"/dev/ttyACM0\"", "kind = \"evdev\"\ndevice = \"Scanner\"\nterminator = \"crlf\"", `gate.toml:13: reader\[0\].terminator: is "crlf", which no keyboard types; must be one of "auto", "cr", "tab", "none"`},
		{"input devices are each reader's own", "device = \"/dev/ttyACM0\"", "kind = \"evdev\"\ndevice = \"Scanner\"\n[[reader]]\nname = \"back\"\nkind = \"evdev\"\ndevice = \"Scanner\"", `gate.toml:16: reader\[1\].device: is Scanner, and so is another`},
		{"a reader of kind net listens", "device = \"/dev/ttyACM0\"", "kind = \"net\"", `gate.toml:9: reader\[0\].listen: is missing; write where the scan service sends`},
		{"a socket has a network", "device = \"/dev/ttyACM0\"", "kind = \"net\"\nlisten = \"127.0.0.1:1\"", `gate.toml:12: reader\[0\].listen: is "127.0.0.1:1", must begin with tcp://, udp:// or unix://`},
		{"a socket has a port", "device = \"/dev/ttyACM0\"", "kind = \"net\"\nlisten = \"tcp://127.0.0.1\"", `gate.toml:12: reader\[0\].listen: is "127.0.0.1", must be an address and a port`},
		{"a socket is not for the network", "device = \"/dev/ttyACM0\"", "kind = \"net\"\nlisten = \"udp://0.0.0.0:58627\"", `gate.toml:12: reader\[0\].listen: is "0.0.0.0:58627", must be on this device alone`},
		{"a socket is no device", "device = \"/dev/ttyACM0\"", "kind = \"net\"\nlisten = \"tcp://127.0.0.1:1\"\ndevice = \"/dev/ttyACM0\"", `gate.toml:13: reader\[0\].device: is for readers of kind "serial" and "evdev"; this one is "net"`},
		{"a serial line does not listen", "device = \"/dev/ttyACM0\"", "device = \"/dev/ttyACM0\"\nlisten = \"tcp://127.0.0.1:1\"", `gate.toml:12: reader\[0\].listen: is for readers of kind "net"; this one is "serial"`},
		{"sockets are each reader's own", "device = \"/dev/ttyACM0\"", "kind = \"net\"\nlisten = \"tcp://127.0.0.1:1\"\n[[reader]]\nname = \"back\"\nkind = \"net\"\nlisten = \"tcp://127.0.0.1:1\"", `gate.toml:16: reader\[1\].listen: is tcp://127.0.0.1:1, and so is another`},
		{"a socket of the file system has a path", "device = \"/dev/ttyACM0\"", "kind = \"net\"\nlisten = \"unix://scan.sock\"", `gate.toml:12: reader\[0\].listen: has the path "scan.sock", must be an absolute one`},
		{"its path leads nowhere back", "device = \"/dev/ttyACM0\"", "kind = \"net\"\nlisten = \"unix:///run/../scan.sock\"", `gate.toml:12: reader\[0\].listen: has the path "/run/../scan.sock", must be an absolute one`},
		{"its path is short", "device = \"/dev/ttyACM0\"", "kind = \"net\"\nlisten = \"unix:///" + strings.Repeat("x", 107) + "\"", `gate.toml:12: reader\[0\].listen: has a path of 108 bytes, may be 107`},
		{"its mode is one of three", "device = \"/dev/ttyACM0\"", "kind = \"net\"\nlisten = \"unix:///run/s\"\nsocket_mode = \"0777\"", `gate.toml:13: reader\[0\].socket_mode: is "0777", must be one of "0600", "0660", "0666"`},
		{"its mode is a text", "device = \"/dev/ttyACM0\"", "kind = \"net\"\nlisten = \"unix:///run/s\"\nsocket_mode = 0o600", `gate.toml:13: reader\[0\].socket_mode: must be a text in quotes`},
		{"a mode is for the file system", "device = \"/dev/ttyACM0\"", "kind = \"net\"\nlisten = \"tcp://127.0.0.1:1\"\nsocket_mode = \"0600\"", `gate.toml:13: reader\[0\].socket_mode: is for a socket of the file system, listen = "unix://…"; this one listens on "tcp://127.0.0.1:1"`},
		{"a group is for the file system", "device = \"/dev/ttyACM0\"", "kind = \"net\"\nlisten = \"udp://127.0.0.1:1\"\nsocket_group = \"scan\"", `gate.toml:13: reader\[0\].socket_group: is for a socket of the file system`},
		{"users are texts", "device = \"/dev/ttyACM0\"", "kind = \"net\"\nlisten = \"tcp://127.0.0.1:1\"\nusers = [\"root\",\n1000]", `gate.toml:13: reader\[0\].users\[1\]: must be a text in quotes`},
		{"users are a list", "device = \"/dev/ttyACM0\"", "kind = \"net\"\nlisten = \"tcp://127.0.0.1:1\"\nusers = \"root\"", `gate.toml:13: reader\[0\].users: must be texts in quotes between brackets, for example \["root", "scanner"\]`},
		{"users are no sections", "device = \"/dev/ttyACM0\"", "kind = \"net\"\nlisten = \"tcp://127.0.0.1:1\"\n[[reader.users]]\nname = \"x\"", `gate.toml:13: reader\[0\].users: must be texts in quotes between brackets`},
		{"users have no keys", "device = \"/dev/ttyACM0\"", "kind = \"net\"\nlisten = \"tcp://127.0.0.1:1\"\nusers.root = true", `gate.toml:13: reader\[0\].users: must be texts in quotes between brackets`},
		{"users have names", "device = \"/dev/ttyACM0\"", "kind = \"net\"\nlisten = \"tcp://127.0.0.1:1\"\nusers = [\"the scanner\"]", `gate.toml:13: reader\[0\].users: holds "the scanner", must be names of users as in /etc/passwd, or their numbers`},
		{"users stand once", "device = \"/dev/ttyACM0\"", "kind = \"net\"\nlisten = \"tcp://127.0.0.1:1\"\nusers = [\"root\", \"root\"]", `gate.toml:13: reader\[0\].users: holds "root" twice`},
		{"everybody stands alone", "device = \"/dev/ttyACM0\"", "kind = \"net\"\nlisten = \"tcp://127.0.0.1:1\"\nusers = [\"root\", \"any\"]", `gate.toml:13: reader\[0\].users: holds "any", which is everybody, beside others`},
		{"users are for kind net", "device = \"/dev/ttyACM0\"", "device = \"/dev/ttyACM0\"\nusers = [\"root\"]", `gate.toml:12: reader\[0\].users: is for readers of kind "net"; this one is "serial"`},
		{"a socket's mode is for kind net", "device = \"/dev/ttyACM0\"", "kind = \"evdev\"\ndevice = \"Scanner\"\nsocket_mode = \"0666\"", `gate.toml:13: reader\[0\].socket_mode: is for readers of kind "net"; this one is "evdev"`},
		{"a line speed exists", "[[reader]]", "[[reader]]\nbaud = 128000", `gate.toml:10: reader\[0\].baud: is "128000", must be one of`},
		{"a line speed of 0 is no default", "[[reader]]", "[[reader]]\nbaud = 0", `gate.toml:10: reader\[0\].baud: `},
		{"a terminator exists", "[[reader]]", "[[reader]]\nterminator = \"CR\"", `gate.toml:10: reader\[0\].terminator: .*did you mean "cr"`},
		{"an idle gap has limits", "[[reader]]", "[[reader]]\nidle_gap = \"1ms\"", `gate.toml:10: reader\[0\].idle_gap: is 1ms, must be 10ms to 1s`},
		{"a prefix is short", "[[reader]]", "[[reader]]\nprefix = \"12345678901234567\"", `gate.toml:10: reader\[0\].prefix: is 17 bytes`},
		{"a command exists", "[[reader]]", "[[reader]]\ncommands.triger = \"16\"", `gate.toml:10: reader\[0\].commands.triger: .*did you mean "trigger"`},
		{"a command is hex", "[[reader]]", "[[reader]]\ncommands.trigger = \"1\"", `gate.toml:10: reader\[0\].commands.trigger: must be up to 64 bytes in hex`},
		{"a light is for a reader there is", "[trust]", "[[lights]]\nreader = \"frnt\"\ngreen = \"A\"\n[trust]", `gate.toml:8: lights\[0\].reader: is "frnt", and no reader is called that; there are "front"; did you mean "front"\?`},
		{"lights have a line", "[trust]", "[[lights]]\nreader = \"front\"\n[trust]", `gate.toml:7: lights\[0\]: names no line`},
		{"a line serves once in a section", "[trust]", "[[lights]]\ngreen = \"GPIO17\"\nrelay = \"GPIO17\"\n[trust]", `gate.toml:9: lights\[0\].relay: is "GPIO17", and so is lights\[0\].green`},
		{"a line serves once in all", "[trust]", "[[lights]]\ngreen = \"GPIO17\"\n[[lights]]\nred = \"GPIO17\"\n[trust]", `gate.toml:10: lights\[1\].red: is "GPIO17", and so is lights\[0\].green`},
		{"a line has a name", "[trust]", "[[lights]]\ngreen = \"GPIO 17\"\n[trust]", `gate.toml:8: lights\[0\].green: must be up to 64`},
		{"a level is high or low", "[trust]", "[[lights]]\ngreen = \"A\"\nactive = \"hihg\"\n[trust]", `gate.toml:9: lights\[0\].active: is "hihg".*did you mean "high"`},
		{"a pulse has an end", "[trust]", "[[lights]]\nrelay = \"A\"\nrelay_pulse = \"11s\"\n[trust]", `gate.toml:9: lights\[0\].relay_pulse: is 11s, must be 10ms to 10s`},
		{"a cool-down too", "[trust]", "[[lights]]\nrelay = \"A\"\nrelay_cool_down = \"11s\"\n[trust]", `gate.toml:9: lights\[0\].relay_cool_down: is 11s, must be 0s to 10s`},
		{"single brackets for lights", "[trust]", "[lights]\ngreen = \"A\"\n[trust]", `gate.toml:7: lights: may stand several times: write \[\[lights\]\]`},
		{"a voice is for a reader there is", "[trust]", "[speaker]\nreader = \"rear\"\n[trust]", `gate.toml:8: speaker.reader: is "rear", and no reader is called that; there are "front"`},
		{"volume is in per cent", "[trust]", "[speaker]\nvolume = 101\n[trust]", `gate.toml:8: speaker.volume: is 101`},
		{"a volume of an unwritten section has a line of its own", "[trust]", "[speaker]\nquiet_hours.volume = -1\n[trust]", `gate.toml:8: speaker.quiet_hours.volume: is -1`},
		{"quiet hours have two ends", "[trust]", "[speaker.quiet_hours]\nfrom = \"22:00\"\n[trust]", `gate.toml:7: speaker.quiet_hours: needs both`},
		{"quiet hours are times", "[trust]", "[speaker.quiet_hours]\nfrom = \"24:00\"\nto=\"7:00\"\n[trust]", `(?s)gate.toml:8: .*"24:00" is no time.*gate.toml:9: .*"7:00" is no time`},
		{"quiet hours end", "[trust]", "[speaker.quiet_hours]\nfrom = \"07:00\"\nto=\"07:00\"\n[trust]", `gate.toml:9: speaker.quiet_hours.to: is the same`},
		{"the screen is not for the network", "[trust]", "[screen]\nlisten = \"0.0.0.0:8480\"\n[trust]", `gate.toml:8: screen.listen: .*on this device alone`},
		{"the screen is not for every address", "[trust]", "[screen]\nlisten = \":8480\"\n[trust]", `gate.toml:8: screen.listen: .*on this device alone`},
		{"the screen has a port", "[trust]", "[screen]\nlisten = \"127.0.0.1\"\n[trust]", `gate.toml:8: screen.listen: .*an address and a port`},
		{"the screen's port is a number", "[trust]", "[screen]\nlisten = \"127.0.0.1:70000\"\n[trust]", `gate.toml:8: screen.listen: has the port "70000"`},
		{"words are for outcomes", "[trust]", "[words.ko]\nadmited = \"x\"\n[trust]", `gate.toml:8: words.ko.admited: is no outcome; did you mean "admitted"`},
		{"words are of a language", "[trust]", "[words.kr]\nidle = \"x\"\n[trust]", `gate.toml:7: words.kr: is no language`},
		{"words are one line", "[trust]", "[words.ko]\nidle = \"x\\ny\"\n[trust]", `gate.toml:8: words.ko.idle: must be`},
	} {
		t.Run(c.rule, func(t *testing.T) {
			text := strings.Replace(minimal, c.old, c.new, 1)
			if text == minimal {
				t.Fatalf("%q does not stand in the minimal file", c.old)
			}
			got, err := configs.Parse("gate.toml", []byte(text))
			var problems *configs.Problems
			if !errors.As(err, &problems) {
				t.Fatalf("error = %v (%T), want *Problems", err, err)
			}
			if !regexp.MustCompile(c.want).MatchString(err.Error()) {
				t.Errorf("error = %v\nwant a match of %s", err, c.want)
			}
			if got.Version != 0 || got.Readers != nil {
				t.Errorf("a configuration stands beside the error: %+v", got)
			}
			if strings.Contains(err.Error(), "secret") {
				t.Errorf("the error holds the enrolment code: %v", err)
			}
		})
	}
}

func TestAllMistakesAreToldAtOnceInOrder(t *testing.T) {
	text := strings.NewReplacer(`"cafe"`, `"CAFE"`, "https", "ftp", "[[reader]]", "[clock]\nskew = \"x\"\nspeed = 1\n[[reader]]\nbaud = 1").Replace(minimal)
	_, err := configs.Parse("gate.toml", []byte(text))
	var problems *configs.Problems
	if !errors.As(err, &problems) {
		t.Fatal(err)
	}
	var keys []string
	for _, p := range problems.List {
		keys = append(keys, fmt.Sprintf("%d %s", p.Line, p.Key))
	}
	want := "3 gate.facility, 6 server.url, 10 clock.skew, 11 clock.speed, 13 reader[0].baud"
	if got := strings.Join(keys, ", "); got != want {
		t.Errorf("problems = %s, want %s\n%v", got, want, err)
	}
}

func TestNoFileIsNotABadFile(t *testing.T) {
	dir := t.TempDir()
	_, err := configs.Load(filepath.Join(dir, "gate.toml"))
	if !errors.Is(err, configs.ErrNoConfig) {
		t.Errorf("missing file: %v, want ErrNoConfig", err)
	}
	path := filepath.Join(dir, "empty.toml")
	testkit.Check(t, os.WriteFile(path, nil, 0o600))
	var problems *configs.Problems
	if _, err := configs.Load(path); errors.Is(err, configs.ErrNoConfig) || !errors.As(err, &problems) {
		t.Errorf("empty file: %v, want *Problems", err)
	}
	if _, err := configs.Load(dir); err == nil || errors.Is(err, configs.ErrNoConfig) {
		t.Errorf("folder: %v, want an error of its own", err)
	}
	testkit.Check(t, os.WriteFile(path, bytes.Repeat([]byte("#"), configs.MaxSize+1), 0o600))
	if _, err := configs.Load(path); err == nil || !strings.Contains(err.Error(), "larger than") {
		t.Errorf("huge file: %v", err)
	}
}

func TestTheEnrolmentCodeNeverPrints(t *testing.T) {
	gate, err := configs.Parse("gate.toml", []byte(strings.Replace(minimal, "[trust]", "enrolment_code = \"hush-1234\"\n[trust]", 1)))
	testkit.Check(t, err)
	var out bytes.Buffer
	log := slog.New(slog.NewJSONHandler(&out, nil))
	log.Info("started", "config", gate, "server", gate.Server, "code", gate.Server.EnrolmentCode)
	slog.New(slog.NewTextHandler(&out, nil)).Info("started", "server", gate.Server, "code", gate.Server.EnrolmentCode)
	fmt.Fprintf(&out, "%v %+v %#v %s %q", gate, gate, gate, gate.Server.EnrolmentCode, gate.Server.EnrolmentCode)
	if strings.Contains(out.String(), "hush") {
		t.Errorf("printed: %s", out.String())
	}
	if gate.Server.EnrolmentCode.Reveal() != "hush-1234" {
		t.Error("the code itself was lost")
	}
}

func TestQuietHours(t *testing.T) {
	for _, c := range []struct {
		rule, from, to, at string
		want               bool
	}{
		{"over midnight, before it", "22:00", "07:00", "23:59", true},
		{"over midnight, after it", "22:00", "07:00", "06:59", true},
		{"the end is out", "22:00", "07:00", "07:00", false},
		{"the beginning is in", "22:00", "07:00", "22:00", true},
		{"midnight itself can begin", "00:00", "06:00", "00:00", true},
		{"within a day", "12:00", "13:00", "12:30", true},
		{"outside of a day's", "12:00", "13:00", "13:30", false},
		{"off while empty", "", "", "00:00", false},
	} {
		t.Run(c.rule, func(t *testing.T) {
			gate, err := configs.Parse("gate.toml", fmt.Appendf(nil, "%s[speaker.quiet_hours]\nfrom = %q\nto = %q\n", minimal, c.from, c.to))
			testkit.Check(t, err)
			at, err := time.Parse("15:04", c.at)
			testkit.Check(t, err)
			if got := gate.Speaker.QuietHours.Holds(at); got != c.want {
				t.Errorf("at %s: %v, want %v", c.at, got, c.want)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	example, err := os.ReadFile("gate.example.toml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(example)
	f.Add([]byte(minimal))
	f.Add([]byte("reader = [{name = \"a\"}, {name = \"b\", commands = {x = \"16\"}}]\nwords.ko.idle = \"x\"\n[[reader]]\n"))
	f.Add([]byte("reader = [{users = [1, \"a\"]}]\n[[reader]]\nusers.a.b = 1\n[[reader.users]]\n[reader.users.c]\n"))
	f.Add([]byte("[[gate]]\n[gate.name]\n[[gate.x]]\nspeaker = [[{}]]\nversion.a.b = 1"))
	f.Fuzz(func(t *testing.T, data []byte) {
		gate, err := configs.Parse("gate.toml", data)
		if err == nil {
			if gate.Version != 1 || len(gate.Readers) == 0 || gate.Place.Facility == "" || len(gate.Trust.Root.Key()) != 32 {
				t.Fatalf("accepted an unusable configuration: %+v", gate)
			}
			return
		}
		var problems *configs.Problems
		if !errors.As(err, &problems) || len(problems.List) == 0 {
			t.Fatalf("error without problems: %v", err)
		}
		lines := bytes.Count(data, []byte("\n")) + 1
		for _, p := range problems.List {
			if p.Line < 0 || p.Line > lines || p.Text == "" {
				t.Fatalf("problem %+v of a file of %d lines", p, lines)
			}
		}
	})
}
