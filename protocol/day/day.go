// Package day is the calendar day that all parties count by: a day in Seoul, and the four weeks after which what belongs to
// it is destroyed. SPEC.md tells it for other programs, testdata/vectors.json has examples.
package day

import (
	"fmt"
	"time"
)

// seoul is fixed at UTC+9: Korea has had no daylight saving time since 1988, and a gate may lack a zone database.
var seoul = time.FixedZone("KST", 9*60*60)

// Seoul is the time zone (UTC+9) in which days of visit are counted.
func Seoul() *time.Location { return seoul }

// Day is a calendar day in Asia/Seoul, counted from 1970-01-01. It is the unit of partitioning and destruction.
type Day int32

// Of returns the day on which t falls.
func Of(t time.Time) Day {
	s := t.Unix() + 9*60*60
	d := s / 86400
	if s%86400 < 0 {
		d--
	}
	return Day(d)
}

// How long after its time of issue a code can be read. Package token judges codes by this; it stands here because it decides
// what day a code belongs to.
const (
	CodeLifetime = 15 * time.Second // from issue to expiry
	// MaxSkew is the widest allowance for clocks that a code is judged with: a gate that would need more does not know the time.
	MaxSkew = 30 * time.Second
)

// OfCode returns the day of a code that was issued at iat: the last on which a gate can read it, so that its visits are of
// this day or an earlier one. A code is kept for as long as any visit of it, and 45 seconds longer than one that was issued
// at the first instant of a day.
func OfCode(iat time.Time) Day { return Of(iat.Add(CodeLifetime + MaxSkew)) }

// Parse reads the form String writes.
func Parse(s string) (Day, error) {
	t, err := time.ParseInLocation(time.DateOnly, s, seoul)
	if err != nil {
		return 0, fmt.Errorf("day %q is not of the form 2006-01-02", s)
	}
	return Of(t), nil
}

// Start returns the first instant of the day; the next day's Start is its end.
func (d Day) Start() time.Time { return time.Unix(int64(d)*86400-9*60*60, 0).In(seoul) }

// String returns the day as 2006-01-02.
func (d Day) String() string { return d.Start().Format(time.DateOnly) }

// RetentionDays is how long a visit, and the code that was read, are kept: four weeks (system.md C3, V6).
const RetentionDays = 28

// DestroyAt returns the instant at which everything of this day is destroyed. As the Korean Civil Act counts periods
// (art. 157: the first day is not counted; art. 159: a period ends with the end of its last day), a visit of day d is
// kept through day d+28 and destroyed when day d+29 begins: not one visit early, all of one day at once.
func (d Day) DestroyAt() time.Time { return (d + RetentionDays + 1).Start() }

// OldestKept returns the oldest day that is not yet to be destroyed at now.
func OldestKept(now time.Time) Day { return Of(now) - RetentionDays }
