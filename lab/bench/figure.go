package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"text/tabwriter"
)

// Figure is one result: ours, beside the bare limit where there is one, both taken in the same run.
type Figure struct {
	Name   string   `json:"name"`
	Ours   float64  `json:"ours"`
	Limit  *float64 `json:"limit"` // what the bare operation reaches; nil where there is none to compare with
	Ratio  *float64 `json:"ratio"` // Ours ÷ Limit
	Unit   string   `json:"unit"`
	Target string   `json:"target"` // in words, empty for none
	OK     bool     `json:"ok"`     // whether the target is reached; true where there is none
}

// target is one bound of a figure.
type target struct {
	of    measure
	least bool // the bound is the least that will do, else the most
	bound float64
}

type measure uint8

const (
	ours  measure = iota // the figure itself
	ratio                // the figure ÷ its bare limit
)

func atMost(of measure, bound float64) target  { return target{of: of, bound: bound} }
func atLeast(of measure, bound float64) target { return target{of: of, bound: bound, least: true} }

func (t target) reached(f Figure) bool {
	v := f.Ours
	if t.of == ratio {
		if f.Ratio == nil {
			return false
		}
		v = *f.Ratio
	}
	if t.least {
		return v >= t.bound
	}
	return v <= t.bound
}

func (t target) words(unit string) string {
	sign, what := "≤", unit
	if t.least {
		sign = "≥"
	}
	if t.of == ratio {
		what = "× bare"
	}
	return fmt.Sprintf("%s %s %s", sign, number(t.bound), what)
}

// absolute is a figure without a bare limit.
func absolute(name, unit string, value float64, targets ...target) Figure {
	return judge(Figure{Name: name, Unit: unit, Ours: value}, targets)
}

// compared is a figure beside its bare limit.
func compared(name, unit string, value, limit float64, targets ...target) Figure {
	r := value / limit
	return judge(Figure{Name: name, Unit: unit, Ours: value, Limit: &limit, Ratio: &r}, targets)
}

// judge holds a figure against its targets and rounds it to what a measurement is worth.
func judge(f Figure, targets []target) Figure {
	f.OK = true
	var words []string
	for _, t := range targets {
		f.OK = f.OK && t.reached(f)
		words = append(words, t.words(f.Unit))
	}
	f.Target = strings.Join(words, " and ")
	f.Ours = round(f.Ours)
	for _, v := range []*float64{f.Limit, f.Ratio} {
		if v != nil {
			*v = round(*v)
		}
	}
	return f
}

// round keeps four digits, or all before the point.
func round(v float64) float64 {
	if v == 0 || math.IsInf(v, 0) || math.IsNaN(v) {
		return v
	}
	scale := math.Pow(10, max(0, 3-math.Floor(math.Log10(math.Abs(v)))))
	return math.Round(v*scale) / scale
}

func number(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }

// Write writes the figures as a table for people, then each as a line of JSON.
func Write(w io.Writer, figures []Figure) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "figure\tours\tbare limit\tratio\tunit\ttarget\t\t")
	for _, f := range figures {
		verdict := "ok"
		switch {
		case f.Target == "":
			verdict = "–"
		case !f.OK:
			verdict = "MISSED"
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t\n", f.Name, number(f.Ours), optional(f.Limit), optional(f.Ratio), f.Unit, f.Target, verdict)
	}
	if err := table.Flush(); err != nil {
		return err
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

func optional(v *float64) string {
	if v == nil {
		return "–"
	}
	return number(*v)
}
