package visit

import (
	"fmt"
	"time"
)

// Facility names one separately entered place, as registered with the visit server: 1 to 32 of a–z, 0–9 and '-'.
type Facility string

// Gate names one terminal of a facility: 1 to 32 of a–z, 0–9 and '-'. It is unique within its facility only.
type Gate string

const maxName = 32

// ParseFacility checks and returns a facility name.
func ParseFacility(s string) (Facility, error) {
	if err := checkName(s); err != nil {
		return "", fmt.Errorf("facility %q: %w", s, err)
	}
	return Facility(s), nil
}

// ParseGate checks and returns a gate name.
func ParseGate(s string) (Gate, error) {
	if err := checkName(s); err != nil {
		return "", fmt.Errorf("gate %q: %w", s, err)
	}
	return Gate(s), nil
}

func checkName(s string) error {
	if len(s) == 0 || len(s) > maxName {
		return fmt.Errorf("must be 1 to %d characters long, is %d", maxName, len(s))
	}
	for _, r := range s {
		if (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' {
			return fmt.Errorf("may hold only a-z, 0-9 and '-', not %q", r)
		}
	}
	return nil
}

// seoul is fixed at UTC+9: Korea has had no daylight saving time since 1988, and a gate may lack a zone database.
var seoul = time.FixedZone("KST", 9*60*60)

// Seoul is the time zone (UTC+9) in which days of visit are counted.
func Seoul() *time.Location { return seoul }

// Day is a calendar day in Asia/Seoul, counted from 1970-01-01. It is the unit of partitioning and destruction.
type Day int32

// DayOf returns the day on which t falls.
func DayOf(t time.Time) Day {
	s := t.Unix() + 9*60*60
	d := s / 86400
	if s%86400 < 0 {
		d--
	}
	return Day(d)
}

// ParseDay reads the form String writes.
func ParseDay(s string) (Day, error) {
	t, err := time.ParseInLocation(time.DateOnly, s, seoul)
	if err != nil {
		return 0, fmt.Errorf("day %q is not of the form 2006-01-02", s)
	}
	return DayOf(t), nil
}

// Start returns the first instant of the day; the next day's Start is its end.
func (d Day) Start() time.Time { return time.Unix(int64(d)*86400-9*60*60, 0).In(seoul) }

// String returns the day as 2006-01-02.
func (d Day) String() string { return d.Start().Format(time.DateOnly) }

// RetentionDays is how long a visit is kept: four weeks (system.md C3, V6).
const RetentionDays = 28

// DestroyAt returns the instant at which everything of this day is destroyed. As the Korean Civil Act counts periods
// (art. 157: the first day is not counted; art. 159: a period ends with the end of its last day), a visit of day d is
// kept through day d+28 and destroyed when day d+29 begins: not one visit early, all of one day at once.
func (d Day) DestroyAt() time.Time { return (d + RetentionDays + 1).Start() }

// OldestKept returns the oldest day that is not yet to be destroyed at now.
func OldestKept(now time.Time) Day { return DayOf(now) - RetentionDays }
