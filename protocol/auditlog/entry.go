package auditlog

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"time"
)

// Kinds of entries.
const (
	KindOrder       = "order"       // the authority made or approved an order
	KindAsked       = "asked"       // the authority is about to ask for the visits and holders of an order
	KindInquiry     = "inquiry"     // visits of a facility left for the authority
	KindOpening     = "opening"     // an issuer opened codes
	KindRefused     = "refused"     // an order of two officers was refused, and nothing left; the note has the refusal's code
	KindContacts    = "contacts"    // a contact list was written
	KindOpened      = "opened"      // a contact list was decrypted
	KindDestruction = "destruction" // data and keys were destroyed
	KindDamage      = "damage"      // what is kept of a day was found damaged or missing; the note says what
	KindSealKey     = "seal-key"    // the private half of a key that gates sealed to was destroyed
	KindRegister    = "register"    // somebody or some key was added to a register of the party, or removed
	// KindAcknowledged is of an operator who has looked into the alerts of a gate.
	KindAcknowledged = "acknowledged"
)

// MaxEntry is the longest leaf in bytes.
const MaxEntry = 4 << 10

// Entry is what a leaf says. It holds nothing about a visitor: no name, no phone, no code. Nor does it hold free text, for
// anybody may read it: what an officer wrote, such as an order's purpose, is bound by Digest alone. Fields that do not
// apply to a kind are left empty. The leaf is the entry's JSON in the order of the fields below.
type Entry struct {
	Kind       string    `json:"kind"`
	At         time.Time `json:"at"`                 // required; kept in whole milliseconds, UTC
	Order      string    `json:"order,omitempty"`    // order.ID, hexadecimal
	Case       string    `json:"case,omitempty"`     // case number
	Officer    string    `json:"officer,omitempty"`  // who signed the order
	Approver   string    `json:"approver,omitempty"` // who approved it
	Facility   string    `json:"facility,omitempty"`
	Gate       string    `json:"gate,omitempty"`
	Alerts     []string  `json:"alerts,omitempty"` // codes of the alerts acknowledged
	From       time.Time `json:"from,omitzero"`    // window, inclusive
	To         time.Time `json:"to,omitzero"`      // window, exclusive
	Day        string    `json:"day,omitempty"`    // destroyed or damaged, or from which a sealing key was in use; 2006-01-02 in Asia/Seoul
	Count      uint64    `json:"count"`            // scans that left, codes opened, records destroyed …
	Refused    uint64    `json:"refused,omitempty"`
	Digest     string    `json:"digest,omitempty"`   // SHA-256, hexadecimal: of the order, or of what was destroyed or written
	LogEntries []string  `json:"logs,omitempty"`     // entries of other parties' logs this rests on, "origin#number"
	Register   string    `json:"register,omitempty"` // which register was changed
	Name       string    `json:"name,omitempty"`     // who or what was added or removed
	Key        string    `json:"key,omitempty"`      // identifier of its key, hexadecimal
	Removed    bool      `json:"removed,omitempty"`  // else it was added
	Note       string    `json:"note,omitempty"`     // anything else that the program says, for the auditor
}

func (e Entry) leaf() ([]byte, error) {
	if e.Kind == "" {
		return nil, fmt.Errorf("entry of no kind")
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(e); err != nil {
		return nil, fmt.Errorf("encoding entry: %w", err)
	}
	leaf := bytes.TrimSuffix(b.Bytes(), []byte("\n"))
	if len(leaf) > MaxEntry {
		return nil, fmt.Errorf("entry of %d bytes, at most %d", len(leaf), MaxEntry)
	}
	return leaf, nil
}

// ParseEntry reads a leaf strictly.
func ParseEntry(leaf []byte) (Entry, error) {
	if len(leaf) > MaxEntry {
		return Entry{}, fmt.Errorf("entry of %d bytes, at most %d", len(leaf), MaxEntry)
	}
	dec := json.NewDecoder(bytes.NewReader(leaf))
	dec.DisallowUnknownFields()
	var e Entry
	if err := dec.Decode(&e); err != nil {
		return Entry{}, fmt.Errorf("reading entry: %w", err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return Entry{}, fmt.Errorf("reading entry: bytes after its end")
	}
	if e.Kind == "" {
		return Entry{}, fmt.Errorf("entry of no kind")
	}
	return e, nil
}
