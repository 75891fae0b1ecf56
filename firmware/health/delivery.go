package health

import (
	"strconv"
	"strings"
)

// Delivery is how a gate stands with its visit server.
type Delivery struct {
	Enrolled    bool   // it has a certificate
	Provisioned bool   // it has a sealing key and a trust list: visitors can be served, enrolled or not
	Revoked     bool   // the server has withdrawn it
	Unknown     bool   // the server does not know its certificate any more
	Reached     bool   // the server has answered lately
	DateWrong   bool   // no certificate of the server is valid on the date this device has
	KeyExchange string // of the last handshake with the server
	Classic     bool   // it was none that withstands a quantum computer
	LastError   string
	Blocked     uint64   // the record that the server does not understand, 0 for none
	Alerts      []string // what the server noticed of the journal's sequence
}

// SetDelivery brings the board up to date with how deliveries go.
func (b *Board) SetDelivery(d Delivery) {
	b.set(Revoked, d.Revoked, "")
	b.set(NotEnrolled, !d.Enrolled && !d.Provisioned && !d.DateWrong, d.LastError) // whose advice would be wrong then
	b.set(DateWrong, d.DateWrong, d.LastError)
	b.set(CertificateLost, (!d.Enrolled || d.Unknown) && d.Provisioned, d.LastError)
	b.set(Offline, !d.Reached, d.LastError)
	b.set(ClassicExchange, d.Classic, d.KeyExchange)
	b.set(RecordBlocked, d.Blocked > 0, strconv.FormatUint(d.Blocked, 10))
	b.set(JournalJumped, len(d.Alerts) > 0, strings.Join(d.Alerts, ", "))
}
