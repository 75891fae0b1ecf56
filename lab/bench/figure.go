package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strconv"
	"text/tabwriter"
)

// Figure is one result, and what it is held against. What hangs on the machine is held against a bare limit: the same
// parts without what is ours around them, taken in turns in the same run; the target is then one of the ratio, which holds
// on any machine, however busy. A size is held against a bound of its own.
type Figure struct {
	Name   string   `json:"name"`
	Ours   float64  `json:"ours"`
	Bare   *float64 `json:"bare"`  // the bare limit; nil for a size
	Ratio  *float64 `json:"ratio"` // Ours ÷ Bare; of what is taken in turns, the median of the turns' ratios
	Unit   string   `json:"unit"`
	Target string   `json:"target"` // of the ratio where there is one, else of the figure; empty for none
	OK     bool     `json:"ok"`     // whether the target is reached; true where there is none
	Of     string   `json:"of"`     // what the bare limit is
	Why    string   `json:"why"`    // the reason of the target
}

// target is the bound of a figure.
type target struct {
	least bool // the bound is the least that will do, else the most
	bound float64
	why   string
}

func atMost(bound float64, why string) target  { return target{bound: bound, why: why} }
func atLeast(bound float64, why string) target { return target{bound: bound, least: true, why: why} }

// forPeople is a figure that is told and held against nothing.
var forPeople = target{bound: math.Inf(1)}

func (t target) reached(v float64) bool {
	if t.least {
		return v >= t.bound
	}
	return v <= t.bound
}

func (t target) words(unit string) string {
	switch {
	case t == forPeople:
		return ""
	case t.least:
		return fmt.Sprintf("≥ %s %s", number(t.bound), unit)
	}
	return fmt.Sprintf("≤ %s %s", number(t.bound), unit)
}

// size is a figure that hangs on the program alone, and not on the machine.
func size(name, unit string, value float64, t target) Figure {
	return Figure{Name: name, Unit: unit, Ours: round(value), Target: t.words(unit), OK: t.reached(value), Why: t.why}
}

// compared is a figure beside its bare limit, which is of what is named.
func compared(name, unit string, value, bare float64, of string, t target) Figure {
	return held(name, unit, value, bare, value/bare, of, t)
}

// comparedTimes is a figure of laps beside those of its bare limit, taken in turns with them: scale × their median. The
// ratio is that of the turns, since machine and disk change from one to the other less than over a whole run.
func comparedTimes(name, unit string, scale float64, whole, bare laps, of string, t target) Figure {
	return held(name, unit, scale*whole.median(), scale*bare.median(), whole.over(bare), of, t)
}

// comparedRates is as comparedTimes for how often in a second n operations a lap were done.
func comparedRates(name, unit string, n float64, whole, bare laps, of string, t target) Figure {
	return held(name, unit, n/whole.median(), n/bare.median(), bare.over(whole), of, t)
}

func held(name, unit string, value, bare, ratio float64, of string, t target) Figure {
	f := Figure{Name: name, Unit: unit, Ours: round(value), Target: t.words("× bare"), OK: t.reached(ratio), Of: of, Why: t.why}
	bare, ratio = round(bare), round(ratio)
	f.Bare, f.Ratio = &bare, &ratio
	return f
}

// round keeps four digits, or all before the point: what a measurement is worth.
func round(v float64) float64 {
	if v == 0 || math.IsInf(v, 0) || math.IsNaN(v) {
		return v
	}
	scale := math.Pow(10, max(0, 3-math.Floor(math.Log10(math.Abs(v)))))
	return math.Round(v*scale) / scale
}

func number(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }

// Write writes the figures as a table for people, then what each is held against and why, then each as a line of JSON.
func Write(w io.Writer, figures []Figure) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "figure\tours\tbare\tratio\tunit\ttarget\t\t")
	for _, f := range figures {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t\n", f.Name, number(f.Ours), optional(f.Bare), optional(f.Ratio), f.Unit, f.Target, f.verdict())
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for _, f := range figures {
		if f.Of != "" {
			fmt.Fprintf(w, "%s: bare is %s\n", f.Name, f.Of)
		}
		if f.Why != "" {
			fmt.Fprintf(w, "%s: %s, because %s\n", f.Name, f.Target, f.Why)
		}
	}
	lines := json.NewEncoder(w)
	lines.SetEscapeHTML(false)
	for _, f := range figures {
		if err := lines.Encode(f); err != nil {
			return fmt.Errorf("figure %s: %w", f.Name, err)
		}
	}
	return nil
}

func (f Figure) verdict() string {
	switch {
	case f.Target == "":
		return "–"
	case !f.OK:
		return "MISSED"
	}
	return "ok"
}

func optional(v *float64) string {
	if v == nil {
		return "–"
	}
	return number(*v)
}
