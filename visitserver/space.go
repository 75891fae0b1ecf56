package visitserver

import (
	"context"
	"errors"
	"syscall"

	"github.com/kipass/kipass/internal/diskspace"
	"github.com/kipass/kipass/internal/httpserver"
)

// Space tells whether there is space to store more, see package diskspace.
type Space interface {
	Check() error            // wraps diskspace.ErrFull if there is none
	Run(ctx context.Context) // looks after it until ctx ends
}

// room returns why nothing more is stored: gates keep their visits and send them again. Orders, the operator's commands
// and destruction, which need little space or give it back, are never kept from going on.
func (s *Server) room() error {
	if s.space == nil {
		return nil
	}
	return whenFull(s.space.Check())
}

// whenFull makes an error that says that the disk is full a refusal.
func whenFull(err error) error {
	if errors.Is(err, diskspace.ErrFull) || errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return httpserver.Busy.With("the server's disk is full; keep it and send again later")
	}
	return err
}
