package main

import (
	"fmt"
	"log/slog"
	"path/filepath"

	"github.com/kipass/kipass/configs"
	"github.com/kipass/kipass/internal/cli"
	"github.com/kipass/kipass/internal/secretfile"
	"github.com/kipass/kipass/uplink"
)

// checkSecrecy refuses a config with an enrolment code that every user of the device may read: whoever has it first enrols a
// device of his own as this gate.
func checkSecrecy(path string, config configs.Gate) error {
	if config.Server.EnrolmentCode.Reveal() == "" {
		return nil
	}
	if err := secretfile.Check(path); err != nil {
		return fmt.Errorf("server.enrolment_code: %w, or take the code out once the gate is enrolled", err)
	}
	return nil
}

// begin refuses such a code before it is used. A gate that has used it serves visitors, and tells of it in the log.
func begin(path string, config configs.Gate, log *slog.Logger) error {
	err := checkSecrecy(path, config)
	if err == nil {
		return nil
	}
	if !enrolled(config) {
		return cli.WithStatus(cli.StatusUsage, err)
	}
	log.Warn("config", "error", err)
	return nil
}

// enrolled reports whether the gate has a certificate, and so no use for the code any more. One whose disk cannot be read may
// have one.
func enrolled(config configs.Gate) bool {
	identity, err := uplink.OpenIdentity(filepath.Join(config.Place.State, "identity"))
	if err != nil {
		return true
	}
	_, _, holds := identity.Terminal()
	return holds
}
