package cli

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// required marks a flag that must be given and not be empty.
const required = "kipass_required"

// Flags defines the flags of a command. The value a variable has before is the flag's default, and text says what the
// flag means, its unit, and what happens without it if that is not the default shown. A flag defined twice is a
// programmer's mistake and panics.
type Flags struct{ cmd *cobra.Command }

// FlagsOf returns the flags of a command, to be defined.
func FlagsOf(cmd *cobra.Command) Flags { return Flags{cmd} }

// String defines a flag of text.
func (f Flags) String(p *string, name string, kind Kind, text string) {
	parse := func(given string) (string, error) { return given, nil }
	define(f, name, text, kind, value[string]{p: p, parse: parse, format: asIs})
}

// Strings defines a flag that may be repeated. Each value is taken as it is: the name of a file may hold a comma.
// It has no default.
func (f Flags) Strings(p *[]string, name string, kind Kind, text string) {
	f.strings(p, name, kind, text, func(given string) []string { return []string{given} })
}

// List defines a flag that may be repeated, of whose values each may be several with commas between. It has no default.
func (f Flags) List(p *[]string, name string, kind Kind, text string) {
	f.strings(p, name, kind, text, func(given string) []string { return strings.Split(given, ",") })
}

func (f Flags) strings(p *[]string, name string, kind Kind, text string, split func(string) []string) {
	parse := func(given string) ([]string, error) {
		values := split(given)
		if slices.Contains(values, "") {
			return nil, strconv.ErrSyntax
		}
		*p = append(*p, values...)
		return *p, nil
	}
	join := func(values []string) string { return strings.Join(values, ",") }
	form := "빈 값은 쓸 수 없습니다 / must not be empty"
	define(f, name, text, kind, value[[]string]{p: p, form: form, parse: parse, format: join})
}

// Choice defines a flag whose value is one of choices.
func (f Flags) Choice(p *string, name string, choices []string, text string) {
	list := strings.Join(choices, ", ")
	parse := func(given string) (string, error) {
		if !slices.Contains(choices, given) {
			return "", strconv.ErrSyntax
		}
		return given, nil
	}
	form := list + " 가운데 하나여야 합니다 / must be one of " + list
	kind := Among(strings.Join(choices, "|"), choices)
	define(f, name, text, kind, value[string]{p: p, form: form, parse: parse, format: asIs})
}

// Int defines a flag of a whole number.
func (f Flags) Int(p *int, name, text string) {
	form := "정수여야 합니다 / must be a whole number"
	define(f, name, text, number, value[int]{p: p, form: form, parse: strconv.Atoi, format: strconv.Itoa})
}

// Uint64 defines a flag of a whole number that is not negative.
func (f Flags) Uint64(p *uint64, name, text string) {
	parse := func(given string) (uint64, error) { return strconv.ParseUint(given, 10, 64) }
	format := func(n uint64) string { return strconv.FormatUint(n, 10) }
	form := "0 이상의 정수여야 합니다 / must be a whole number, 0 or more"
	define(f, name, text, number, value[uint64]{p: p, form: form, parse: parse, format: format})
}

// Duration defines a flag of a duration.
func (f Flags) Duration(p *time.Duration, name, text string) {
	define(f, name, text, duration, value[time.Duration]{
		p: p, form: durationForm, parse: time.ParseDuration, format: formatDuration,
	})
}

// formatDuration writes a duration without units that are zero: 24h, not 24h0m0s.
func formatDuration(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

const durationForm = "90s, 15m, 24h처럼 단위와 함께 써야 합니다 / must have a unit, such as 90s, 15m or 24h"

// Bool defines a flag that takes no value.
func (f Flags) Bool(p *bool, name, text string) { f.cmd.Flags().BoolVar(p, name, *p, text) }

// Require says that flags must be given and not be empty.
func (f Flags) Require(names ...string) {
	for _, name := range names {
		must(f.cmd.Flags().SetAnnotation(name, required, nil))
	}
}

func checkRequired(cmd *cobra.Command) error {
	var missing []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if Required(f) && (!f.Changed || f.Value.String() == "") {
			missing = append(missing, "--"+f.Name+" "+f.Value.Type())
		}
	})
	if len(missing) == 0 {
		return nil
	}
	return Wrong("필요한 옵션이 없습니다: %s", "required flags missing: %s", strings.Join(missing, ", "))
}

// Required says whether a flag must be given.
func Required(f *pflag.Flag) bool {
	_, ok := f.Annotations[required]
	return ok
}

func asIs(text string) string { return text }

// must panics where a flag is defined twice or described before it is defined.
func must(err error) {
	if err != nil {
		panic(err)
	}
}
