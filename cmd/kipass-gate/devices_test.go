package main

import (
	"log/slog"
	"net"
	"strings"
	"testing"

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

// TestCharactersOfCodes holds the alphabet against a real code: a letter left out would make good codes count as damaged.
func TestCharactersOfCodes(t *testing.T) {
	for i := range 256 {
		c := byte(i)
		_, err := token.Parse(append([]byte(token.Prefix), '0', c, '0'))
		refused := err != nil && strings.Contains(err.Error(), "outside the alphabet")
		if known := strings.IndexByte(base45, c) >= 0; known == refused {
			t.Errorf("byte %q: in the alphabet %v, refused by the code %v (%v)", c, known, refused, err)
		}
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
