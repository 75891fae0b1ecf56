package main

import (
	"fmt"
	"log/slog"
	"os"
	"strings"

	"github.com/kipass/kipass/configs"
	"github.com/kipass/kipass/firmware/replay"
)

// sharedRuntime is where codes are remembered when neither config nor systemd names a folder.
const sharedRuntime = "/run/kipass"

// openReplays opens the memory of codes admitted. A folder that the config names must serve; without one that does the
// gate forgets its codes when it ends, which is told.
func openReplays(config configs.Gate, log *slog.Logger) (*replay.Set, error) {
	opts := replay.Options{
		Dir: config.Place.Runtime, Name: string(config.Place.Facility) + "." + string(config.Place.Name),
	}
	if opts.Dir != "" {
		set, err := replay.Open(opts)
		if err != nil {
			return nil, fmt.Errorf("gate.runtime: %w", err)
		}
		return set, nil
	}
	opts.Dir = foundRuntime(os.Getenv("RUNTIME_DIRECTORY"), sharedRuntime)
	set, err := replay.Open(opts)
	if err != nil {
		log.Warn("the folder in memory cannot be used", "error", err)
		set, opts.Dir = replay.New(), ""
	}
	if opts.Dir == "" {
		log.Warn("a code just used would be let in again after a restart: name a folder in memory as gate.runtime")
	}
	return set, nil
}

// foundRuntime returns the first folder systemd made (systemd.exec(5), RuntimeDirectory), or else shared if it is there
// and lies in memory, or else nothing.
func foundRuntime(made, shared string) string {
	if first, _, _ := strings.Cut(made, ":"); first != "" {
		return first
	}
	if replay.Volatile(shared) != nil {
		return ""
	}
	return shared
}
