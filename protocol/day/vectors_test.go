package day_test

import (
	"flag"
	"path/filepath"
	"testing"
	"time"

	"github.com/kipass/kipass/internal/testkit"
	"github.com/kipass/kipass/protocol/day"
)

var update = flag.Bool("update", false, "write testdata/vectors.json anew")

var vectorFile = filepath.Join("testdata", "vectors.json")

type vectors struct {
	About string      `json:"about"`
	Days  []vectorDay `json:"days"`
	Codes []vectorDay `json:"codes"` // at is the time of issue
}

type vectorDay struct {
	Name      string `json:"name"`
	At        int64  `json:"at_ms"`
	Day       string `json:"day"`
	Number    int32  `json:"number"`
	DestroyAt int64  `json:"destroy_at_s"`
}

func TestVectorFileIsWhatTheCodeMakes(t *testing.T) {
	v := vectors{About: "Days in Seoul of instants and of codes, and when they are destroyed, as in day/SPEC.md."}
	line := func(name string, at time.Time, d day.Day) vectorDay {
		return vectorDay{name, at.UnixMilli(), d.String(), int32(d), d.DestroyAt().Unix()}
	}
	for _, c := range dayCases() {
		v.Days = append(v.Days, line(c.name, c.at, day.Of(c.at)))
	}
	midnight := day.Day(18445).Start()
	for _, c := range []struct {
		name  string
		since time.Duration
	}{
		{"at noon", -12 * time.Hour}, {"that can last be read a second before midnight", -46 * time.Second},
		{"that can last be read at midnight", -45 * time.Second}, {"five seconds before midnight", -5 * time.Second}, {"at midnight", 0},
	} {
		at := midnight.Add(c.since)
		v.Codes = append(v.Codes, line(c.name, at, day.OfCode(at)))
	}
	testkit.CheckVectors(t, vectorFile, v, *update)
}

func TestVectors(t *testing.T) {
	v := testkit.ReadVectors[vectors](t, vectorFile)
	if len(v.Days) < 10 {
		t.Fatalf("%d days in %s", len(v.Days), vectorFile)
	}
	if len(v.Codes) < 5 {
		t.Fatalf("%d codes in %s", len(v.Codes), vectorFile)
	}
	check := func(c vectorDay, d day.Day) {
		if d.String() != c.Day || int32(d) != c.Number || d.DestroyAt().Unix() != c.DestroyAt {
			t.Errorf("%s: %v, number %d, destroyed at %d; want %+v", c.Name, d, d, d.DestroyAt().Unix(), c)
		}
	}
	for _, c := range v.Days {
		check(c, day.Of(time.UnixMilli(c.At)))
	}
	for _, c := range v.Codes {
		check(c, day.OfCode(time.UnixMilli(c.At)))
	}
}
