package day_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

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
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	b = append(b, '\n')
	if *update {
		if err := os.WriteFile(vectorFile, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if have, err := os.ReadFile(vectorFile); err != nil || !bytes.Equal(have, b) {
		t.Fatalf("%s differs from what the code makes (%v); if the rule was meant to change, run this test with -update", vectorFile, err)
	}
}

func TestVectors(t *testing.T) {
	b, err := os.ReadFile(vectorFile)
	if err != nil {
		t.Fatal(err)
	}
	var v vectors
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
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
