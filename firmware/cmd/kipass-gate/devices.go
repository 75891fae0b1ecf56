package main

import (
	"fmt"
	"log/slog"

	"github.com/kipass/kipass/configs"
	"github.com/kipass/kipass/drivers"
	"github.com/kipass/kipass/drivers/framing"
	"github.com/kipass/kipass/drivers/serialscan"
	"github.com/kipass/kipass/firmware"
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
			Prefix: r.Prefix, Suffix: r.Suffix, Model: serialscan.Model(r.Model), Log: log,
		})
	default:
		return nil, fmt.Errorf("kind %q: this program has no such reader", r.Kind)
	}
}

// openIndicators makes the indicators of the config. Opening them is their own business and holds nothing up.
func openIndicators(config configs.Gate, log *slog.Logger) ([]firmware.Lane, error) {
	return nil, nil
}

// spoken returns the languages of the voice, in order.
func spoken(config configs.Gate) []string {
	if config.Place.SecondLanguage == "" {
		return []string{config.Place.Language}
	}
	return []string{config.Place.Language, config.Place.SecondLanguage}
}
