package inquiry

import (
	"bytes"
	"cmp"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/kipass/kipass/protocol/auditlog"
	"github.com/kipass/kipass/protocol/day"
	"github.com/kipass/kipass/protocol/order"
	"github.com/kipass/kipass/protocol/person"
	"github.com/kipass/kipass/protocol/visit"
)

// ContactList is who was at a place in a window. It exists decrypted only while it is read.
type ContactList struct {
	Order      string         `json:"order"`
	Case       string         `json:"case"`
	Officer    string         `json:"officer"`
	Approver   string         `json:"approver"`
	Purpose    string         `json:"purpose"`
	Facility   string         `json:"facility"`
	From       time.Time      `json:"from"`
	To         time.Time      `json:"to"`
	MadeAt     time.Time      `json:"made_at"`
	LogEntries []string       `json:"logs"`              // entries of the audit logs it rests on, "party#number"
	Complete   bool           `json:"complete"`          // nothing is known to be missing
	Missing    map[string]int `json:"missing,omitempty"` // codes not asked for, by issuer
	Untold     map[string]int `json:"untold,omitempty"`  // codes that their issuer cannot open and no other one opens, by issuer
	Shortfalls []Shortfall    `json:"shortfalls,omitempty"`
	Gates      []Gate         `json:"gates"`
	Contacts   []Contact      `json:"contacts"` // by first scan
	Unknown    []Visit        `json:"unknown"`  // scans whose holder is not known
}

// Contact is one person, whoever issued the codes and however name and number were spelled. It prints and logs as a
// placeholder.
type Contact struct {
	Name    string   `json:"name"`
	Phone   string   `json:"phone"`
	Issuers []string `json:"issuers"` // of the codes, each once
	Visits  []Visit  `json:"visits"`  // by time; several give a hint of the stay
}

const redacted = "contact(redacted)"

func (Contact) String() string       { return redacted }
func (Contact) GoString() string     { return redacted }
func (Contact) LogValue() slog.Value { return slog.StringValue(redacted) }

// Visit is one scan.
type Visit struct {
	At     time.Time `json:"at"`
	Gate   string    `json:"gate"`
	Issuer string    `json:"issuer"`
	Marks  []Mark    `json:"marks,omitempty"` // what makes it doubtful
}

// join makes the contact list of an order: who held the codes that were scanned, by the issuers' answers.
func join(o order.Approved, visits order.VisitAnswer, shares []*share) ContactList {
	list := ContactList{
		Order: o.ID.String(), Case: o.Case, Officer: o.Officer, Approver: o.Approver, Purpose: o.Purpose,
		Facility: string(o.Facility), From: o.From, To: o.To,
		LogEntries: []string{fmt.Sprintf("visits#%d", visits.Entry)},
		Missing:    map[string]int{}, Contacts: []Contact{}, Unknown: []Visit{},
		Shortfalls: shortfalls(o.Order, visits), Gates: gatesOf(visits),
	}
	holders := map[code]order.Holder{}
	for _, s := range shares {
		for _, h := range s.holders {
			holders[code{s.issuer, h.CTI}] = h
		}
		for _, n := range s.entries {
			list.LogEntries = append(list.LogEntries, fmt.Sprintf("%s#%d", s.issuer, n))
		}
		if rest := len(s.codes) - s.answered(); rest > 0 {
			list.Missing[s.issuer] = rest
		}
	}
	at := map[[2]string]int{} // by what the spellings of one person have in common
	scans := slices.SortedStableFunc(slices.Values(visits.Scans), func(a, b order.Scan) int { return a.At.Compare(b.At) })
	for _, s := range scans {
		h, known := holders[code{s.Issuer, s.CTI}]
		v := Visit{At: s.At, Gate: string(s.Gate), Issuer: s.Issuer, Marks: marks(s, h.IssuedAt)}
		if !known {
			list.Unknown = append(list.Unknown, v)
			continue
		}
		c := contactOf(h)
		p := [2]string{person.Key(c.Name), c.Phone}
		i, met := at[p]
		if !met {
			i = len(list.Contacts)
			at[p] = i
			list.Contacts = append(list.Contacts, c)
		}
		list.Contacts[i].add(v)
	}
	list.Untold = untold(shares)
	list.Complete = len(list.Missing) == 0 && len(list.Shortfalls) == 0 && len(list.Untold) == 0
	return list
}

// contactOf returns the contact that a holder is. What an issuer gives that is no name or no number is left as it is: the
// authority may find the person by it all the same.
func contactOf(h order.Holder) Contact {
	c := Contact{Name: h.Name, Phone: h.Phone}
	if name, err := person.Name(h.Name); err == nil {
		c.Name = name
	}
	if phone, err := person.Phone(h.Phone); err == nil {
		c.Phone = phone
	}
	return c
}

func (c *Contact) add(v Visit) {
	c.Visits = append(c.Visits, v)
	if !slices.Contains(c.Issuers, v.Issuer) {
		c.Issuers = append(c.Issuers, v.Issuer)
	}
}

// untold counts the codes that their issuers cannot open, by issuer. One that another issuer opens was handed in a second time
// under a wrong name: its holder is in the list.
func untold(shares []*share) map[string]int {
	opened := map[visit.CTI]bool{}
	for _, s := range shares {
		for _, h := range s.holders {
			opened[h.CTI] = true
		}
	}
	n := map[string]int{}
	for _, s := range shares {
		for _, cti := range s.unopened {
			if !opened[cti] {
				n[s.issuer]++
			}
		}
	}
	return n
}

func (l ContactList) summary(shares []*share) Summary {
	sum := Summary{
		Order: l.Order, Complete: l.Complete, Gates: l.Gates, Shortfalls: l.Shortfalls, Contacts: len(l.Contacts), Scans: len(l.Unknown),
		Issuers: map[string]IssuerSummary{}, LogEntries: l.LogEntries,
	}
	for _, c := range l.Contacts {
		sum.Scans += len(c.Visits)
	}
	for _, s := range shares {
		i := IssuerSummary{
			Codes: len(s.codes), Opened: len(s.holders), Unopened: len(s.unopened), Missing: l.Missing[s.issuer],
		}
		if s.err != nil {
			i.Error = s.err.Error()
		}
		sum.Issuers[s.issuer] = i
		sum.Codes += i.Codes
		sum.Opened += i.Opened
		sum.Unopened += i.Unopened
	}
	return sum
}

// lacks says in a line what the list is known not to hold.
func (l ContactList) lacks() string {
	var all []string
	if failed := slices.Sorted(maps.Keys(l.Missing)); len(failed) > 0 {
		all = append(all, fmt.Sprintf("no answer for all codes of %v", failed))
	}
	var gates []string
	for _, s := range l.Shortfalls {
		if name := cmp.Or(s.Gate, "visit server"); !slices.Contains(gates, name) {
			gates = append(gates, name)
		}
	}
	if len(gates) > 0 {
		all = append(all, fmt.Sprintf("visits missing at %v", gates))
	}
	if issuers := slices.Sorted(maps.Keys(l.Untold)); len(issuers) > 0 {
		all = append(all, fmt.Sprintf("holders of codes that %v cannot open", issuers))
	}
	return strings.Join(all, "; ") + "; run the order again later"
}

// Warnings are lines that whoever reads the list is to see first, in Korean and English: what is missing in it, and which
// gates may have been copied.
func (l ContactList) Warnings() (lines []string) {
	for _, name := range slices.Sorted(maps.Keys(l.Missing)) {
		lines = append(lines, fmt.Sprintf("불완전: 발급회사 %[2]s의 코드 %[1]d개를 묻지 못했습니다 / INCOMPLETE: %[1]d codes of issuer %[2]s were not asked for",
			l.Missing[name], name))
	}
	for _, name := range slices.Sorted(maps.Keys(l.Untold)) {
		lines = append(lines, fmt.Sprintf("불완전: 발급회사 %[2]s가 코드 %[1]d개를 열지 못합니다 / INCOMPLETE: issuer %[2]s cannot open %[1]d codes: it has lost "+
			"whose they are, or never gave them out", l.Untold[name], name))
	}
	for _, s := range l.Shortfalls {
		lines = append(lines, "불완전 / INCOMPLETE: "+s.Words())
	}
	for _, g := range l.Gates {
		if len(g.Alerts) > 0 {
			lines = append(lines, fmt.Sprintf("주의: 게이트 %s에 확인되지 않은 경보 / CAUTION: gate %[1]s has alerts that nobody has acknowledged: %s",
				g.Gate, strings.Join(g.Alerts, ", ")))
		}
	}
	return lines
}

func (l ContactList) encode() ([]byte, error) {
	b, err := json.Marshal(l)
	if err != nil {
		return nil, fmt.Errorf("encoding the contact list: %w", err)
	}
	return b, nil
}

// Contacts decrypts the contact list of an order. Its reading is logged first.
func (a *Authority) Contacts(id order.ID) (ContactList, error) {
	identity, err := a.identity(id)
	if err != nil {
		return ContactList{}, err
	}
	sealed, err := os.ReadFile(filepath.Join(a.orderDir(id), contactsFile))
	if err != nil {
		return ContactList{}, fmt.Errorf("reading the contact list of order %v: %w", id, err)
	}
	plain, err := decrypt(identity, sealed)
	if err != nil {
		return ContactList{}, fmt.Errorf("reading the contact list of order %v: %w", id, err)
	}
	dec := json.NewDecoder(bytes.NewReader(plain))
	dec.DisallowUnknownFields()
	var l ContactList
	if err := dec.Decode(&l); err != nil {
		return ContactList{}, fmt.Errorf("the contact list of order %v is damaged", id) // the cause would quote it
	}
	_, err = a.audit.Append(auditlog.Entry{
		Kind: auditlog.KindOpened, At: a.now(), Order: l.Order, Case: l.Case, Officer: l.Officer, Approver: l.Approver,
		Facility: l.Facility, From: l.From, To: l.To, Count: uint64(len(l.Contacts)),
	})
	if err != nil {
		return ContactList{}, err
	}
	return l, nil
}

// WriteJSON writes the list as indented JSON.
func (l ContactList) WriteJSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(l)
}

// WriteCSV writes one line per contact (RFC 4180): name, phone, issuers, first and last scan, number of scans, gates, and in
// words what makes a scan of the contact doubtful.
// A field that a spreadsheet would take for a formula is quoted with an apostrophe.
func (l ContactList) WriteCSV(w io.Writer) error {
	out := csv.NewWriter(w)
	rows := [][]string{{"name", "phone", "issuers", "first", "last", "scans", "gates", "marks"}}
	for _, c := range l.Contacts {
		var gates, marked []string
		for _, v := range c.Visits {
			if !slices.Contains(gates, v.Gate) {
				gates = append(gates, v.Gate)
			}
			for _, m := range v.Marks {
				if words := m.Words(); !slices.Contains(marked, words) {
					marked = append(marked, words)
				}
			}
		}
		rows = append(rows, []string{
			plainCell(c.Name), phoneCell(c.Phone), strings.Join(c.Issuers, " "), timeCell(c.Visits[0].At), timeCell(c.Visits[len(c.Visits)-1].At),
			fmt.Sprint(len(c.Visits)), strings.Join(gates, " "), strings.Join(marked, "; "),
		})
	}
	return out.WriteAll(rows)
}

func timeCell(t time.Time) string { return t.In(day.Seoul()).Format(time.RFC3339) }

func plainCell(s string) string {
	if s != "" && strings.ContainsRune("=+-@\t\r", rune(s[0])) {
		return "'" + s
	}
	return s
}

// phoneCell leaves a number in E.164 form as it is.
func phoneCell(s string) string {
	if digits, ok := strings.CutPrefix(s, "+"); ok && strings.Trim(digits, "0123456789") == "" {
		return s
	}
	return plainCell(s)
}
