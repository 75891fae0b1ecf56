package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/kipass/kipass/configs"
	"github.com/kipass/kipass/firmware/health"
	"github.com/kipass/kipass/firmware/journal"
	"github.com/kipass/kipass/firmware/screen"
	"github.com/kipass/kipass/uplink"
)

const reopenState = 2 * time.Second

// state is what a gate keeps on its disk.
type state struct {
	identity *uplink.Identity
	journal  *journal.Journal
}

// openState opens identity and journal. While the disk does not let it – full, read-only, not mounted – the screen tells
// visitors to use the paper register and technicians why, and it is tried again. It returns nil without an error if ctx
// ends first, and an error at once if another gate holds the journal.
func openState(ctx context.Context, config configs.Gate, board *health.Board, log *slog.Logger) (*state, error) {
	open := func() (*state, error) {
		identity, err := uplink.OpenIdentity(filepath.Join(config.Place.State, "identity"))
		if err != nil {
			return nil, err
		}
		j, err := journal.Open(journal.Options{
			Dir: filepath.Join(config.Place.State, "journal"), Facility: config.Place.Facility, Gate: config.Place.Name,
			FreeFloor: uint64(config.Journal.FreeFloor.Bytes), Logger: log, System: journalSystem(),
		})
		if err != nil {
			return nil, err
		}
		return &state{identity, j}, nil
	}
	opened, err := open()
	if err == nil || errors.Is(err, journal.ErrLocked) {
		return opened, err
	}
	board.Set(health.JournalFailed, "", err.Error())
	display, err := newScreen(config, log, func() screen.Status { return screen.Status{Faults: board.Shown()} })
	if err != nil {
		return nil, err
	}
	waiting, stop := context.WithCancel(ctx)
	defer stop()
	group, waiting := errgroup.WithContext(waiting)
	group.Go(func() error { return display.Run(waiting) })
	group.Go(func() error {
		defer stop()
		for {
			select {
			case <-time.After(reopenState):
			case <-waiting.Done():
				return nil
			}
			retried, err := open()
			if err == nil || errors.Is(err, journal.ErrLocked) {
				opened = retried
				return err
			}
			board.Set(health.JournalFailed, "", err.Error())
		}
	})
	if err := group.Wait(); err != nil {
		if opened != nil {
			err = errors.Join(err, opened.journal.Close())
		}
		return nil, err
	}
	if opened != nil {
		board.Clear(health.JournalFailed, "")
	}
	return opened, nil
}

// newScreen binds the screen's address, so that a port in use is known at the start.
func newScreen(config configs.Gate, log *slog.Logger, status func() screen.Status) (*screen.Screen, error) {
	listener, err := net.Listen("tcp", config.Screen.Listen)
	if err != nil {
		return nil, fmt.Errorf("screen: listening for the browser: %w", err)
	}
	display, err := screen.New(screen.Options{
		Listener: listener, Language: config.Place.Language, Second: config.Place.SecondLanguage, Words: config.Words,
		Version: version, Logger: log, Status: status,
	})
	if err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	return display, nil
}
