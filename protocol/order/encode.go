package order

import (
	"fmt"
	"time"

	"github.com/kipass/kipass/protocol/visit"
)

// EncodeQuestion returns the CBOR of a question.
func EncodeQuestion(q Question) ([]byte, error) {
	w := wireQuestion{Order: q.Order, Codes: make([][]byte, 0, len(q.Codes))}
	for _, c := range q.Codes {
		w.Codes = append(w.Codes, c[:])
	}
	if err := checkQuestion(w); err != nil {
		return nil, err
	}
	return encMode.Marshal(w)
}

// DecodeQuestion reads a question and checks its limits; the order in it is not yet verified.
func DecodeQuestion(b []byte) (Question, error) {
	if len(b) > MaxQuestion {
		return Question{}, fmt.Errorf("%w: question of %d bytes, at most %d", ErrMessage, len(b), MaxQuestion)
	}
	var w wireQuestion
	if err := decMode.Unmarshal(b, &w); err != nil {
		return Question{}, fmt.Errorf("%w: %v", ErrMessage, err)
	}
	if err := checkQuestion(w); err != nil {
		return Question{}, err
	}
	q := Question{Order: w.Order, Codes: make([]visit.CTI, 0, len(w.Codes))}
	for _, c := range w.Codes {
		q.Codes = append(q.Codes, visit.CTI(c))
	}
	return q, nil
}

func checkQuestion(w wireQuestion) error {
	if len(w.Order) == 0 || len(w.Order) > MaxOrder {
		return fmt.Errorf("%w: order of %d bytes, must be 1 to %d", ErrMessage, len(w.Order), MaxOrder)
	}
	if n := len(w.Codes); n == 0 || n > MaxCodes {
		return fmt.Errorf("%w: question of %d codes, must be 1 to %d", ErrMessage, n, MaxCodes)
	}
	seen := make(seenCodes, len(w.Codes))
	for i, c := range w.Codes {
		if err := seen.add(i, c); err != nil {
			return err
		}
	}
	return nil
}

// seenCodes holds the codes that a message has named so far.
type seenCodes map[visit.CTI]bool

func (c seenCodes) add(i int, cti []byte) error {
	if len(cti) != visit.CTISize {
		return fmt.Errorf("%w: code %d is %d bytes long, must be %d", ErrMessage, i, len(cti), visit.CTISize)
	}
	if c[visit.CTI(cti)] {
		return fmt.Errorf("%w: code %d appears twice", ErrMessage, i)
	}
	c[visit.CTI(cti)] = true
	return nil
}

func checkMillis(ms int64) error {
	if ms <= 0 || ms > maxTime*1000 {
		return fmt.Errorf("%w: time %d is out of range", ErrMessage, ms)
	}
	return nil
}

func encodeVisitAnswer(a VisitAnswer) ([]byte, error) {
	w := wireVisitAnswer{Entry: a.Entry, Order: a.Order[:], Scans: make([]wireScan, 0, len(a.Scans))}
	w.Gates, w.Damaged = encodeGates(a.Gates), append([]string{}, a.Damaged...)
	for _, s := range a.Scans {
		w.Scans = append(w.Scans, wireScan{
			At: s.At.UnixMilli(), Facility: string(s.Facility), Gate: string(s.Gate), Issuer: s.Issuer, CTI: s.CTI[:],
			Clock: uint8(s.Clock), Skew: uint32(s.Skew.Milliseconds()), Flags: uint8(s.Flags),
		})
	}
	if err := checkVisitAnswer(w); err != nil {
		return nil, err
	}
	return encMode.Marshal(w)
}

func decodeVisitAnswer(b []byte) (VisitAnswer, error) {
	var w wireVisitAnswer
	if err := decMode.Unmarshal(b, &w); err != nil {
		return VisitAnswer{}, fmt.Errorf("%w: %v", ErrMessage, err)
	}
	if err := checkVisitAnswer(w); err != nil {
		return VisitAnswer{}, err
	}
	a := VisitAnswer{Entry: w.Entry, Order: ID(w.Order), Scans: make([]Scan, 0, len(w.Scans))}
	a.Gates, a.Damaged = decodeGates(w.Gates), w.Damaged
	for _, s := range w.Scans {
		a.Scans = append(a.Scans, Scan{
			At: time.UnixMilli(s.At).UTC(), Facility: visit.Facility(s.Facility), Gate: visit.Gate(s.Gate),
			Issuer: s.Issuer, CTI: visit.CTI(s.CTI), Clock: visit.ClockState(s.Clock),
			Skew: time.Duration(s.Skew) * time.Millisecond, Flags: Flags(s.Flags),
		})
	}
	return a, nil
}

func checkVisitAnswer(w wireVisitAnswer) error {
	if len(w.Order) != len(ID{}) {
		return fmt.Errorf("%w: order id of %d bytes, must be %d", ErrMessage, len(w.Order), len(ID{}))
	}
	if len(w.Scans) > MaxScans {
		return fmt.Errorf("%w: %d scans, at most %d", ErrMessage, len(w.Scans), MaxScans)
	}
	if err := checkGates(w.Gates); err != nil {
		return err
	}
	if err := checkDays(w.Damaged); err != nil {
		return err
	}
	for i, s := range w.Scans {
		if _, err := visit.ParseFacility(s.Facility); err != nil {
			return fmt.Errorf("%w: scan %d: %v", ErrMessage, i, err)
		}
		if _, err := visit.ParseGate(s.Gate); err != nil {
			return fmt.Errorf("%w: scan %d: %v", ErrMessage, i, err)
		}
		// Short names of issuers follow the rule of place names, but are at most 16 long.
		if _, err := visit.ParseGate(s.Issuer); err != nil || len(s.Issuer) > 16 {
			return fmt.Errorf("%w: scan %d: issuer is not 1 to 16 of a-z, 0-9 and '-'", ErrMessage, i)
		}
		if len(s.CTI) != visit.CTISize {
			return fmt.Errorf("%w: scan %d: code of %d bytes, must be %d", ErrMessage, i, len(s.CTI), visit.CTISize)
		}
		if visit.ClockState(s.Clock) > visit.ClockSynced || Flags(s.Flags)&^allFlags != 0 {
			return fmt.Errorf("%w: scan %d: clock state %d or flags %#x are unknown", ErrMessage, i, s.Clock, s.Flags)
		}
		if err := checkMillis(s.At); err != nil {
			return err
		}
	}
	return nil
}

func encodeIssuerAnswer(a IssuerAnswer) ([]byte, error) {
	w := wireIssuerAnswer{
		Entry: a.Entry, Order: a.Order[:],
		Holders: make([]wireHolder, 0, len(a.Holders)), Unopened: make([][]byte, 0, len(a.Unopened)),
	}
	for _, h := range a.Holders {
		w.Holders = append(w.Holders, wireHolder{CTI: h.CTI[:], Name: h.Name, Phone: h.Phone, At: h.IssuedAt.Unix()})
	}
	for _, c := range a.Unopened {
		w.Unopened = append(w.Unopened, c[:])
	}
	if err := checkIssuerAnswer(w); err != nil {
		return nil, err
	}
	return encMode.Marshal(w)
}

func decodeIssuerAnswer(b []byte) (IssuerAnswer, error) {
	var w wireIssuerAnswer
	if err := decMode.Unmarshal(b, &w); err != nil {
		return IssuerAnswer{}, fmt.Errorf("%w: %v", ErrMessage, err)
	}
	if err := checkIssuerAnswer(w); err != nil {
		return IssuerAnswer{}, err
	}
	a := IssuerAnswer{Entry: w.Entry, Order: ID(w.Order)}
	for _, h := range w.Holders {
		a.Holders = append(a.Holders, Holder{
			CTI: visit.CTI(h.CTI), Name: h.Name, Phone: h.Phone, IssuedAt: time.Unix(h.At, 0).UTC(),
		})
	}
	for _, c := range w.Unopened {
		a.Unopened = append(a.Unopened, visit.CTI(c))
	}
	return a, nil
}

func checkIssuerAnswer(w wireIssuerAnswer) error {
	if len(w.Order) != len(ID{}) {
		return fmt.Errorf("%w: order id of %d bytes, must be %d", ErrMessage, len(w.Order), len(ID{}))
	}
	if n := len(w.Holders) + len(w.Unopened); n > MaxCodes {
		return fmt.Errorf("%w: answer about %d codes, at most %d", ErrMessage, n, MaxCodes)
	}
	seen := make(seenCodes, len(w.Holders)+len(w.Unopened))
	for i, h := range w.Holders {
		if err := seen.add(i, h.CTI); err != nil {
			return err
		}
		if len(h.Name) == 0 || len(h.Name) > maxHolder || len(h.Phone) == 0 || len(h.Phone) > maxPhone {
			return fmt.Errorf("%w: holder %d: name or phone is empty or too long", ErrMessage, i)
		}
		if h.At <= 0 || h.At > maxTime {
			return fmt.Errorf("%w: holder %d: time of issue %d is out of range", ErrMessage, i, h.At)
		}
	}
	for i, c := range w.Unopened {
		if err := seen.add(len(w.Holders)+i, c); err != nil {
			return err
		}
	}
	return nil
}
