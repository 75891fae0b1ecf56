package visitserver

import (
	"time"

	"github.com/kipass/kipass/protocol/auditlog"
)

// AuditLog is the append-only log of everything done with visits beyond taking and counting them.
type AuditLog interface {
	// Append adds an entry, durably, and returns its number.
	Append(auditlog.Entry) (uint64, error)
	// SyncRegister makes the log tell of a register as it is in force, before it is gone by.
	SyncRegister(register string, inForce map[string]string, at time.Time) error
	// Snapshot returns the entries, one a line, and the signed checkpoint over them.
	Snapshot() (entries, checkpoint []byte, err error)
}
