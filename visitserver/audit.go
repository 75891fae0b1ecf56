package visitserver

// AuditLog is the append-only log of everything done with visits beyond taking and counting them.
type AuditLog interface {
	// Append adds an entry, durably, and returns its number.
	Append(entry []byte) (uint64, error)
}
