package main

import (
	"log/slog"
	"testing"
	"time"

	"github.com/kipass/kipass/firmware"
	"github.com/kipass/kipass/firmware/health"
	"github.com/kipass/kipass/uplink"
)

// A gate without its certificate is out of service only if it has nothing to serve visitors with.
func TestFaultOfAMissingCertificate(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	board := health.NewBoard(time.Now, log)
	s := &station{gate: firmware.New(firmware.Options{Board: board, Log: log}), board: board, log: log}
	for rule, c := range map[string]struct {
		provisioned bool
		want        health.Code
		severity    health.Severity
	}{
		"never enrolled":           {false, health.NotEnrolled, health.Down},
		"the certificate was lost": {true, health.CertificateLost, health.Degraded},
	} {
		s.provisioned.Store(c.provisioned)
		s.connected(uplink.Status{Reached: true})
		if faults := board.Shown(); len(faults) != 1 || faults[0].Code != c.want || health.KindOf(c.want).Severity != c.severity {
			t.Errorf("%s: faults %+v, want %v, %v", rule, faults, c.want, c.severity)
		}
	}
	s.connected(uplink.Status{Reached: true, Enrolled: true})
	if faults := board.Shown(); len(faults) != 0 {
		t.Errorf("enrolled: faults stay: %+v", faults)
	}
}
