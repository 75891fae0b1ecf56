package main

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/kipass/kipass/configs"
	"github.com/kipass/kipass/drivers"
	"github.com/kipass/kipass/drivers/evdevscan"
	"github.com/kipass/kipass/drivers/framing"
	"github.com/kipass/kipass/drivers/gpio"
	"github.com/kipass/kipass/drivers/netscan"
	"github.com/kipass/kipass/drivers/serialscan"
	"github.com/kipass/kipass/drivers/speaker"
	"github.com/kipass/kipass/firmware"
	"github.com/kipass/kipass/protocol/day"
	"github.com/kipass/kipass/protocol/token"
	"github.com/kipass/kipass/protocol/visit"
	"github.com/kipass/kipass/sounds"
)

// openReaders makes the readers of the config. No device is touched yet.
func openReaders(config configs.Gate, log *slog.Logger) ([]drivers.Reader, error) {
	var readers []drivers.Reader
	for _, r := range config.Readers {
		reader, err := openReader(r, log)
		if err != nil {
			return nil, fmt.Errorf("reader %s: %w", r.Name, err)
		}
		readers = append(readers, reader)
	}
	return readers, nil
}

// entryCode tells the drivers what an entry code looks like; they know no such format themselves.
var entryCode = framing.Code{
	Begins: token.Prefix, Alphabet: token.Alphabet,
	Is: func(text []byte) bool {
		_, err := token.Parse(text)
		return err == nil
	},
}

func openReader(r configs.Reader, log *slog.Logger) (drivers.Reader, error) {
	rule := framing.Rule{
		Terminator: framing.Terminator(r.Terminator), Gap: r.IdleGap.Duration, Prefix: r.Prefix, Suffix: r.Suffix,
		Code: entryCode,
	}
	switch r.Kind {
	case "serial":
		return serialscan.New(serialscan.Options{
			Name: r.Name, Device: r.Device, Baud: r.Baud, Framing: rule,
			Model: serialscan.Model(r.Model), Trigger: serialscan.Trigger(r.Trigger),
			Light: serialscan.Light(r.Light), Commands: commands(r.Commands), Logger: log,
		})
	case "evdev":
		return evdevscan.New(evdevscan.Options{
			Name: r.Name, Device: r.Device, Framing: rule,
			Logger: log,
		})
	case "net":
		mode, err := strconv.ParseUint(r.SocketMode, 8, 32)
		if err != nil {
			return nil, fmt.Errorf("socket_mode: %w", err)
		}
		return netscan.New(netscan.Options{
			Name: r.Name, Listen: r.Listen, Users: r.Users, SocketMode: fs.FileMode(mode), SocketGroup: r.SocketGroup, Framing: rule,
			Logger: log,
		})
	default:
		return nil, fmt.Errorf("kind %q: this program has no such reader", r.Kind)
	}
}

// commands takes over what the config replaces of a reader's commands; what it does not name stays the family's own.
func commands(c map[string]configs.Bytes) serialscan.Commands {
	return serialscan.Commands{
		Setup: c["setup"].Raw, Identify: c["identify"].Raw, Present: c["present"].Raw, Manual: c["manual"].Raw,
		Enable: c["enable"].Raw, Disable: c["disable"].Raw, Trigger: c["trigger"].Raw, Stop: c["stop"].Raw,
		LightOn: c["light_on"].Raw, LightOff: c["light_off"].Raw, Accepted: c["accepted"].Raw, Refused: c["refused"].Raw,
	}
}

// openIndicators makes the indicators of the config. Opening them is their own business and holds nothing up.
func openIndicators(config configs.Gate, clips map[string]speaker.PCM, log *slog.Logger) ([]firmware.Lane, error) {
	var lanes []firmware.Lane
	for i, l := range config.Lights {
		made, err := openLights(l, log)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("lights %d: %w", i+1, err), halt(lanes))
		}
		lanes = append(lanes, made...)
	}
	if !config.Speaker.Enabled {
		return lanes, nil
	}
	return append(lanes, firmware.Lane{Indicator: speaker.New(speakerOptions(config.Speaker, clips, log)), Reader: config.Speaker.Reader}), nil
}

// openLights makes what one section of lights names. Lights and relay are two devices, so that neither waits for the other.
func openLights(l configs.Lights, log *slog.Logger) ([]firmware.Lane, error) {
	name := l.Reader
	if name == "" {
		name = "all readers"
	}
	var lanes []firmware.Lane
	line := func(name, active string) gpio.Line { return gpio.Line{Name: name, ActiveLow: active == "low"} }
	if l.Relay != "" {
		relay, err := gpio.NewRelay(gpio.RelayOptions{
			Name: name, Line: line(l.Relay, l.RelayActive), Pulse: l.RelayPulse.Duration, CoolDown: l.RelayCoolDown.Duration, Logger: log,
		})
		if err != nil {
			return nil, err
		}
		lanes = append(lanes, firmware.Lane{Indicator: relay, Reader: l.Reader})
	}
	if l.Green+l.Amber+l.Red+l.Buzzer != "" {
		lights, err := gpio.NewLights(gpio.LightsOptions{
			Name: name, Green: line(l.Green, l.Active), Amber: line(l.Amber, l.Active), Red: line(l.Red, l.Active),
			Buzzer: line(l.Buzzer, l.Active),
		})
		if err != nil {
			return nil, errors.Join(err, halt(lanes))
		}
		lanes = append(lanes, firmware.Lane{Indicator: lights, Reader: l.Reader})
	}
	return lanes, nil
}

// halt gives up indicators that no gate has taken over.
func halt(lanes []firmware.Lane) error {
	var errs []error
	for _, l := range lanes {
		errs = append(errs, l.Indicator.Halt())
	}
	return errors.Join(errs...)
}

func speakerOptions(s configs.Speaker, clips map[string]speaker.PCM, log *slog.Logger) speaker.Options {
	quiet := s.QuietHours
	return speaker.Options{
		Clips: clips, Volume: percent(s.Volume), Buffer: s.Buffer.Duration, Logger: log, Now: seoulTime,
		Quiet: speaker.Quiet{
			From: time.Duration(quiet.From.Minutes()) * time.Minute, To: time.Duration(quiet.To.Minutes()) * time.Minute,
			Volume: percent(quiet.Volume),
		},
	}
}

// seoulTime is the time in which people write hours of the day into a config, whatever zone the device is set to.
func seoulTime() time.Time { return time.Now().In(day.Seoul()) }

func percent(volume int) float64 { return float64(volume) / 100 }

// openVoice returns the clips of a gate that speaks, and how long each lasts. Without a voice the lengths are nil, for those
// of the voice that is shipped: people read about as fast.
func openVoice(config configs.Gate) (clips map[string]speaker.PCM, length func(name string) time.Duration, err error) {
	if !config.Speaker.Enabled {
		return nil, nil, nil
	}
	if clips, err = readClips(config); err != nil {
		return nil, nil, err
	}
	return clips, func(name string) time.Duration { return clips[name].Duration() }, nil
}

// readClips decodes what the gate may say, the venue's own recording where there is one of the name, else the one shipped.
func readClips(config configs.Gate) (map[string]speaker.PCM, error) {
	clips := map[string]speaker.PCM{}
	for _, o := range visit.Outcomes() {
		for _, name := range sounds.ClipNames(o, config.Languages()...) {
			wav, err := readClip(config.Speaker.Clips, name)
			if err != nil {
				return nil, fmt.Errorf("speaker: clip %s: %w", name, err)
			}
			if clips[name], err = speaker.Decode(wav, speaker.Rate); err != nil {
				return nil, fmt.Errorf("speaker: clip %s: %w", name, err)
			}
		}
	}
	return clips, nil
}

func readClip(folder, name string) ([]byte, error) {
	if folder != "" {
		wav, err := os.ReadFile(filepath.Join(folder, filepath.FromSlash(name)+".wav"))
		if !errors.Is(err, fs.ErrNotExist) {
			return wav, err
		}
	}
	return sounds.Clip(name)
}
