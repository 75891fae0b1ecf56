package cli

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// A Kind is what a flag's value is: the name that help shows for it and how a shell completes it.
type Kind struct {
	name     string
	complete func(cmd *cobra.Command, flag string) error
}

// Kinds of text. Flags of other kinds have methods of their own.
var (
	Dir  = Kind{"DIR", func(cmd *cobra.Command, flag string) error { return cmd.MarkFlagDirname(flag) }}
	File = Kind{"FILE", func(cmd *cobra.Command, flag string) error { return cmd.MarkFlagFilename(flag) }}
	TOML = Kind{"FILE", func(cmd *cobra.Command, flag string) error { return cmd.MarkFlagFilename(flag, "toml") }}
	// NamedFile is a FILE for somebody, NAME=FILE, or for all others.
	NamedFile = Kind{"[NAME=]FILE", func(cmd *cobra.Command, flag string) error { return cmd.MarkFlagFilename(flag) }}
	Address   = Kind{"ADDRESS", uncompleted} // HOST:PORT
	Host      = Kind{"HOST", uncompleted}    // DNS name or IP address
	Key       = Kind{"KEY", uncompleted}     // a public one
	Name      = Kind{"NAME", uncompleted}
	Text      = Kind{"TEXT", uncompleted}
	Time      = Kind{"TIME", uncompleted}
	URL       = Kind{"URL", uncompleted}
)

func uncompleted(cmd *cobra.Command, flag string) error {
	return cmd.RegisterFlagCompletionFunc(flag, cobra.NoFileCompletions)
}

// Among returns a kind of text of which a shell offers the choices; whether it is one of them is not checked.
func Among(name string, choices []string) Kind {
	return Kind{name, func(cmd *cobra.Command, flag string) error {
		return cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(choices, cobra.ShellCompDirectiveNoFileComp))
	}}
}

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
	define(f, p, name, kind, text, "", parse, asIs)
}

// Strings defines a flag that may be repeated. Each value is taken as it is: the name of a file may hold a comma. It has no
// default.
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
	define(f, p, name, kind, text, "빈 값은 쓸 수 없습니다 / must not be empty", parse, join)
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
	define(f, p, name, Among(strings.Join(choices, "|"), choices), text, list+" 가운데 하나여야 합니다 / must be one of "+list, parse, asIs)
}

// Int defines a flag of a whole number.
func (f Flags) Int(p *int, name, text string) {
	define(f, p, name, Kind{"N", uncompleted}, text, "정수여야 합니다 / must be a whole number", strconv.Atoi, strconv.Itoa)
}

// Uint64 defines a flag of a whole number that is not negative.
func (f Flags) Uint64(p *uint64, name, text string) {
	parse := func(given string) (uint64, error) { return strconv.ParseUint(given, 10, 64) }
	format := func(n uint64) string { return strconv.FormatUint(n, 10) }
	define(f, p, name, Kind{"N", uncompleted}, text, "0 이상의 정수여야 합니다 / must be a whole number, 0 or more", parse, format)
}

// Duration defines a flag of a duration.
func (f Flags) Duration(p *time.Duration, name, text string) {
	define(f, p, name, duration, text, durationForm, time.ParseDuration, formatDuration)
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

var duration = Kind{"DURATION", uncompleted}

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
