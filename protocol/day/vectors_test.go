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
}

type vectorDay struct {
	Name      string `json:"name"`
	At        int64  `json:"at_ms"`
	Day       string `json:"day"`
	Number    int32  `json:"number"`
	DestroyAt int64  `json:"destroy_at_s"`
}

func TestVectorFileIsWhatTheCodeMakes(t *testing.T) {
	v := vectors{About: "Days in Seoul and when they are destroyed, as in day/SPEC.md."}
	for _, c := range dayCases() {
		d := day.Of(c.at)
		v.Days = append(v.Days, vectorDay{c.name, c.at.UnixMilli(), d.String(), int32(d), d.DestroyAt().Unix()})
	}
	testkit.CheckVectors(t, vectorFile, v, *update)
}

func TestVectors(t *testing.T) {
	v := testkit.ReadVectors[vectors](t, vectorFile)
	if len(v.Days) < 10 {
		t.Fatalf("%d days in %s", len(v.Days), vectorFile)
	}
	for _, c := range v.Days {
		d := day.Of(time.UnixMilli(c.At))
		if d.String() != c.Day || int32(d) != c.Number || d.DestroyAt().Unix() != c.DestroyAt {
			t.Errorf("%s: %v, number %d, destroyed at %d; want %+v", c.Name, d, d, d.DestroyAt().Unix(), c)
		}
	}
}
