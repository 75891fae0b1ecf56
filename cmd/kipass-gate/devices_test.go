package main

import (
	"crypto/ed25519"
	"crypto/rand"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/kipass/kipass/drivers"
	"github.com/kipass/kipass/drivers/drivertest"
	"github.com/kipass/kipass/drivers/framing"
	"github.com/kipass/kipass/sounds"

	"github.com/kipass/kipass/configs"
	"github.com/kipass/kipass/firmware/screen"
	"github.com/kipass/kipass/internal/testkit"
	"github.com/kipass/kipass/protocol/token"
)

func TestReadersOfEveryKind(t *testing.T) {
	config, err := configs.Parse("gate.toml", []byte(`version = 1
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
[[reader]]
name = "built-in"
kind = "evdev"
device = "0c2e:0b61"
[[reader]]
name = "service"
kind = "net"
listen = "udp://127.0.0.1:58627"
`))
	testkit.Check(t, err)
	readers, err := openReaders(config, slog.New(slog.DiscardHandler))
	testkit.Check(t, err)
	var names []string
	for _, r := range readers {
		names = append(names, r.String())
	}
	const want = "serial /dev/ttyACM0 (front), input device 0c2e:0b61 (built-in), socket udp://127.0.0.1:58627 (service)"
	if got := strings.Join(names, ", "); got != want {
		t.Errorf("opened %s, want %s", got, want)
	}
	config.Readers[0].Kind = "parallel"
	if _, err := openReaders(config, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), `reader front: kind "parallel"`) {
		t.Errorf("an unknown kind gave %v", err)
	}
}

// TestASocketIsOpenToThoseNamed holds that what the config says of a socket reaches it.
func TestASocketIsOpenToThoseNamed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "scan.sock")
	config := configs.DefaultReader()
	config.Name, config.Kind, config.Listen, config.SocketMode = "front", "net", "unix://"+path, "0600"
	config.Users = []string{strconv.Itoa(os.Geteuid() + 1)}
	reader := testkit.Must(openReader(config, slog.New(slog.DiscardHandler)))(t)
	drivertest.Run(t, reader)
	drivertest.Opened(t, reader)
	if info := testkit.Must(os.Stat(path))(t); info.Mode().Perm() != 0o600 {
		t.Errorf("its mode is %v", info.Mode())
	}
	conn := testkit.Must(net.Dial("unix", path))(t)
	defer conn.Close()
	drivertest.Await(t, "this user to be turned away", func() bool {
		err := reader.Check()
		return err != nil && strings.Contains(err.Error(), "users")
	})
	config.Listen, config.SocketGroup = "unix://"+path+"2", "nobody-there"
	err := testkit.Must(openReader(config, slog.New(slog.DiscardHandler)))(t).Run(t.Context(), func(drivers.Read) {})
	if err == nil || !strings.Contains(err.Error(), `no group "nobody-there"`) {
		t.Errorf("a group that is missing gave %v", err)
	}
}

// TestEntryCodesAreKnownToDrivers holds the description that drivers have of codes against a real one, with everything that
// readers put around it.
func TestEntryCodesAreKnownToDrivers(t *testing.T) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	testkit.Check(t, err)
	code := testkit.Must(token.Sign(key, "naver", time.Unix(1_600_000_000, 0), token.CTI{1, 2, 3}))(t)
	for _, d := range drivertest.Decorations {
		var got []framing.Frame
		f := framing.New(framing.Rule{Code: entryCode})
		f.Push(time.Now(), []byte(d.Wire(code)+"\r"), func(f framing.Frame) {
			if f.Data != nil {
				got = append(got, f)
			}
		})
		wanted := min(int(d.Want), 1)
		if len(got) != wanted || d.Want == drivertest.OneCode && (!got[0].Whole || string(got[0].Data) != code) ||
			d.Want == drivertest.Foreign && got[0].Whole {
			t.Errorf("%s: %+v", d.Rule, got)
		}
	}
}

// TestAVenuesOwnRecordingHoldsTheLight has a recording that is longer than the one shipped.
func TestAVenuesOwnRecordingHoldsTheLight(t *testing.T) {
	config := configs.Gate{Place: configs.Place{Language: "ko"}, Speaker: configs.Speaker{Enabled: true, Clips: t.TempDir()}}
	testkit.Check(t, os.Mkdir(filepath.Join(config.Speaker.Clips, "ko"), 0o700))
	own := filepath.Join(config.Speaker.Clips, "ko", "admitted.wav")
	testkit.Check(t, os.WriteFile(own, testkit.Must(sounds.Clip("ko/expired"))(t), 0o600))
	_, length, err := openVoice(config)
	testkit.Check(t, err)
	for clip, want := range map[string]string{"ko/admitted": "ko/expired", "ko/not-a-code": "ko/not-a-code", "tone/green": "tone/green"} {
		if got := length(clip); got != sounds.Length(want) {
			t.Errorf("%s lasts %v, want %v", clip, got, sounds.Length(want))
		}
	}
	config.Speaker.Enabled = false
	testkit.Check(t, os.WriteFile(own, []byte("no sound"), 0o600))
	if clips, length, err := openVoice(config); clips != nil || length != nil || err != nil {
		t.Errorf("a gate without a voice reads its clips: %v", err)
	}
}

func TestAPortInUseIsToldAtOnce(t *testing.T) {
	taken := testkit.Must(net.Listen("tcp", "127.0.0.1:0"))(t)
	defer taken.Close()
	config := configs.Gate{Screen: configs.Screen{Listen: taken.Addr().String()}, Place: configs.Place{Language: "ko"}}
	_, err := newScreen(config, slog.New(slog.DiscardHandler), func() screen.Status { return screen.Status{} })
	if err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("error = %v", err)
	}
}

// A device that is set to another time zone keeps the quiet hours of Seoul.
func TestQuietHoursAreThoseOfSeoul(t *testing.T) {
	was := time.Local
	defer func() { time.Local = was }()
	var err error
	if time.Local, err = time.LoadLocation("America/New_York"); err != nil {
		t.Fatal(err)
	}
	at := speakerOptions(configs.Speaker{}, nil, slog.New(slog.DiscardHandler)).Now()
	if _, offset := at.Zone(); offset != 9*60*60 || time.Until(at).Abs() > time.Hour {
		t.Errorf("the time of quiet hours is %v", at)
	}
}
