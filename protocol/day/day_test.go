package day_test

import (
	"testing"
	"time"

	"github.com/kipass/kipass/protocol/day"
)

type dayCase struct {
	name string
	at   time.Time
	day  string
}

func dayCases() []dayCase {
	kst := func(y int, m time.Month, d, h, min, s, ns int) time.Time {
		return time.Date(y, m, d, h, min, s, ns, day.Seoul())
	}
	return []dayCase{
		{"noon", kst(2020, 7, 1, 12, 0, 0, 0), "2020-07-01"},
		{"midnight belongs to the new day", kst(2020, 7, 1, 0, 0, 0, 0), "2020-07-01"},
		{"the last millisecond of a day", kst(2020, 7, 1, 23, 59, 59, 999_000_000), "2020-07-01"},
		{"15:00 UTC is the next day in Seoul", time.Date(2020, 7, 1, 15, 0, 0, 0, time.UTC), "2020-07-02"},
		{"a millisecond before 15:00 UTC is not", time.Date(2020, 7, 1, 14, 59, 59, 999_000_000, time.UTC), "2020-07-01"},
		{"a leap day", kst(2020, 2, 29, 9, 0, 0, 0), "2020-02-29"},
		{"the last day of a year", kst(2020, 12, 31, 23, 0, 0, 0), "2020-12-31"},
		{"the epoch is 9 in the morning in Seoul", time.Unix(0, 0), "1970-01-01"},
		{"the first instant of day 0", time.Unix(-9*3600, 0), "1970-01-01"},
		{"a millisecond before day 0", time.Unix(-9*3600, 0).Add(-time.Millisecond), "1969-12-31"},
		{"midnight before 1970", kst(1969, 12, 31, 0, 0, 0, 0), "1969-12-31"},
		{"a second before it", kst(1969, 12, 30, 23, 59, 59, 0), "1969-12-30"},
		{"long before 1970", kst(1945, 8, 15, 12, 0, 0, 0), "1945-08-15"},
		{"summer 1988 had another offset in law, not here", time.Date(1988, 7, 1, 15, 0, 0, 0, time.UTC), "1988-07-02"},
	}
}

func TestDays(t *testing.T) {
	for _, c := range dayCases() {
		t.Run(c.name, func(t *testing.T) {
			d := day.Of(c.at)
			if d.String() != c.day {
				t.Fatalf("%v falls on %v, want %s", c.at, d, c.day)
			}
			if back, err := day.Parse(c.day); err != nil || back != d {
				t.Errorf("%s is read as %v (%v)", c.day, back, err)
			}
			if c.at.Before(d.Start()) || !c.at.Before((d + 1).Start()) {
				t.Errorf("%v is not between %v and %v", c.at, d.Start(), (d + 1).Start())
			}
		})
	}
	if d := day.Of(time.Unix(0, 0)); d != 0 {
		t.Errorf("1970-01-01 is day %d", int32(d))
	}
	for _, d := range []day.Day{-800000, -1, 0, 1, 18444, 100000} {
		start := d.Start()
		if day.Of(start) != d || day.Of(start.Add(-1)) != d-1 || day.Of(start.Add(24*time.Hour-1)) != d {
			t.Errorf("day %d does not begin and end where it should", int32(d))
		}
		if h, m, s := start.Clock(); h != 0 || m != 0 || s != 0 || start.Nanosecond() != 0 {
			t.Errorf("day %d begins at %v", int32(d), start)
		}
	}
}

// TestACodeIsKeptAsLongAsItsVisits: whoever reads a code, by whatever clock a gate may go, the visit's day is not later than
// the code's; and no code is kept longer than the last moment of reading it asks for.
func TestACodeIsKeptAsLongAsItsVisits(t *testing.T) {
	midnight := day.Day(18445).Start()
	latest := time.Duration(0)
	for since := -2 * time.Minute; since <= 2*time.Minute; since += time.Second {
		iat := midnight.Add(since)
		d := day.OfCode(iat)
		for _, skew := range []time.Duration{0, time.Millisecond, 2 * time.Second, 10 * time.Second, day.MaxSkew} {
			for at := iat.Add(-skew); !at.After(iat.Add(day.CodeLifetime + skew)); at = at.Add(250 * time.Millisecond) {
				if visit := day.Of(at); visit > d || visit < d-1 {
					t.Fatalf("a code of %v, of day %v, is read at %v: day %v", iat, d, at, visit)
				}
			}
		}
		if last := iat.Add(day.CodeLifetime + day.MaxSkew); day.Of(last) != d {
			t.Errorf("a code of %v is of day %v, and can last be read on %v", iat, d, day.Of(last))
		}
		latest = max(latest, d.DestroyAt().Sub(iat))
	}
	if most := 29*24*time.Hour + day.CodeLifetime + day.MaxSkew; latest > most {
		t.Errorf("a code is kept for %v, at most %v", latest, most)
	}
}

func TestParseRefuses(t *testing.T) {
	for _, s := range []string{"", "2020-7-1", "2020-02-30", "20200701", "2020-07-01T00:00:00Z", " 2020-07-01", "2020-07-01 ", "2020-13-01", "오늘"} {
		if d, err := day.Parse(s); err == nil || d != 0 {
			t.Errorf("%q is read as %v", s, d)
		}
	}
}

// TestDestruction holds the rule: kept for 28 whole days after the day of the visit, then gone.
func TestDestruction(t *testing.T) {
	for visited, gone := range map[string]string{
		"2020-07-01": "2020-07-30", "2020-02-01": "2020-03-01", "2019-02-01": "2019-03-02", "2020-12-31": "2021-01-29", "1969-12-10": "1970-01-08",
	} {
		d, err := day.Parse(visited)
		if err != nil {
			t.Fatal(err)
		}
		want, err := time.ParseInLocation(time.DateOnly, gone, day.Seoul())
		if err != nil {
			t.Fatal(err)
		}
		if at := d.DestroyAt(); !at.Equal(want) {
			t.Errorf("visits of %s are destroyed at %v, want %v", visited, at, want)
		}
		if oldest := day.OldestKept(want.Add(-1)); oldest != d {
			t.Errorf("1 ns before %s the oldest day kept is %v, want %s", gone, oldest, visited)
		}
		if oldest := day.OldestKept(want); oldest != d+1 {
			t.Errorf("at %s the oldest day kept is %v, want the day after %s", gone, oldest, visited)
		}
	}
}

// TestDestroyAtAndOldestKeptAgree: a day is kept exactly until its DestroyAt, at every kind of instant.
func TestDestroyAtAndOldestKeptAgree(t *testing.T) {
	for _, now := range []time.Time{time.Date(2020, 7, 1, 3, 4, 5, 678_000_000, time.UTC), time.Unix(0, 0), time.Unix(-1, 0), day.Day(18444).Start(), day.Day(18444).Start().Add(-1), day.Day(-40).Start()} {
		today := day.Of(now)
		for d := today - 60; d <= today; d++ {
			if kept, due := d >= day.OldestKept(now), !d.DestroyAt().After(now); kept == due {
				t.Errorf("at %v the day %v is kept: %v, due for destruction: %v", now, d, kept, due)
			}
		}
	}
	shortest := day.Day(0).DestroyAt().Sub(day.Day(1).Start().Add(-1))
	longest := day.Day(0).DestroyAt().Sub(day.Day(0).Start())
	if shortest < 28*24*time.Hour || longest > 29*24*time.Hour {
		t.Errorf("a visit is kept for %v to %v, want 28 to 29 days", shortest, longest)
	}
}
