package main

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/kipass/kipass/configs"
	"github.com/kipass/kipass/drivers"
	"github.com/kipass/kipass/drivers/framing"
	"github.com/kipass/kipass/drivers/serialscan"
	"github.com/kipass/kipass/drivers/speaker"
	"github.com/kipass/kipass/firmware"
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

func openReader(r configs.Reader, log *slog.Logger) (drivers.Reader, error) {
	switch r.Kind {
	case "serial":
		return serialscan.New(serialscan.Options{
			Name: r.Name, Device: r.Device, Baud: r.Baud, Terminator: framing.Terminator(r.Terminator), IdleGap: r.IdleGap.Duration,
			Prefix: r.Prefix, Suffix: r.Suffix, Model: serialscan.Model(r.Model), Trigger: serialscan.Trigger(r.Trigger),
			Light: serialscan.Light(r.Light), Commands: commands(r.Commands), Log: log,
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
func openIndicators(config configs.Gate, log *slog.Logger) ([]firmware.Lane, error) {
	if !config.Speaker.Enabled {
		return nil, nil
	}
	clips, err := readClips(config.Speaker.Clips)
	if err != nil {
		return nil, err
	}
	quiet := config.Speaker.QuietHours
	return []firmware.Lane{{Indicator: speaker.New(speaker.Options{
		Clips: clips, Volume: percent(config.Speaker.Volume), Buffer: config.Speaker.Buffer.Duration, Log: log,
		Quiet: speaker.Quiet{
			From: time.Duration(quiet.From.Minutes()) * time.Minute, To: time.Duration(quiet.To.Minutes()) * time.Minute,
			Volume: percent(quiet.Volume),
		},
	})}}, nil
}

func percent(volume int) float64 { return float64(volume) / 100 }

// readClips decodes every clip there is, the venue's own from folder where it has one of the name, else those shipped.
func readClips(folder string) (map[string]speaker.PCM, error) {
	clips := map[string]speaker.PCM{}
	for _, name := range sounds.Names() {
		wav, err := readClip(folder, name)
		if err != nil {
			return nil, err
		}
		if clips[name], err = speaker.Decode(wav, speaker.Rate); err != nil {
			return nil, fmt.Errorf("speaker: clip %s: %w", name, err)
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

// spoken returns the languages of the voice, in order.
func spoken(config configs.Gate) []string {
	if config.Place.SecondLanguage == "" {
		return []string{config.Place.Language}
	}
	return []string{config.Place.Language, config.Place.SecondLanguage}
}
