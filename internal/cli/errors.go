package cli

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/kipass/kipass/internal/spelling"
)

// UsageError says in both languages what is wrong with a command line.
type UsageError struct{ Korean, English string }

func (e *UsageError) Error() string { return e.Korean + separator + e.English }

// Wrong returns a UsageError. Both formats take all args, in the same order.
func Wrong(korean, english string, args ...any) *UsageError {
	return &UsageError{Korean: fmt.Sprintf(korean, args...), English: fmt.Sprintf(english, args...)}
}

// WrongKey returns a UsageError about a flag that was to have a public key.
func WrongKey(flag string, err error) *UsageError {
	return Wrong("--%[1]s는 공개 키, base64 44자여야 합니다: %[2]v", "--%[1]s must be a public key, 44 characters of base64: %[2]v", flag, err)
}

// meaning adds the question whether name was meant; "" asks nothing.
func (e *UsageError) meaning(name string) *UsageError {
	if name != "" {
		e.Korean += "; 혹시 " + name + "?"
		e.English += "; did you mean " + name + "?"
	}
	return e
}

// statusError ends a program with a status of its own.
type statusError struct {
	error
	status int
}

func (e *statusError) Unwrap() error { return e.error }

// WithStatus returns err as the reason to end with an exit status other than StatusFailed.
func WithStatus(status int, err error) error { return &statusError{err, status} }

// report writes err, which cmd ended with, and returns the exit status.
func report(stderr io.Writer, cmd *cobra.Command, err error) int {
	if err == nil {
		return StatusDone
	}
	path := cmd.CommandPath()
	if wrong := (*UsageError)(nil); errors.As(err, &wrong) {
		fmt.Fprintf(stderr, "%s: %s\n%[1]s: %[3]s\n도움말 / help: %[1]s --help\n", path, wrong.Korean, wrong.English)
		return StatusUsage
	}
	fmt.Fprintf(stderr, "%s: 실패 / failed: %v\n", path, err)
	if own := (*statusError)(nil); errors.As(err, &own) {
		return own.status
	}
	return StatusFailed
}

// flagError turns what pflag says of a command line into a UsageError.
func flagError(cmd *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	var empty *pflag.ValueRequiredError
	var invalid *pflag.InvalidValueError
	switch {
	case errors.As(err, &unknown):
		return unknownFlag(cmd, unknown)
	case errors.As(err, &empty):
		flag := empty.GetFlag()
		return Wrong("옵션에 값이 필요합니다: --%s %s", "flag needs a value: --%s %s", flag.Name, flag.Value.Type())
	case errors.As(err, &invalid):
		return invalidValue(invalid)
	}
	return Wrong("잘못된 옵션: %v", "wrong flag: %v", err)
}

func unknownFlag(cmd *cobra.Command, unknown *pflag.NotExistError) *UsageError {
	if given := cmd.Flags().Args(); cmd.HasSubCommands() && len(given) > 0 {
		return unknownCommand(cmd, given[0]) // the flag belongs to a command that does not exist
	}
	given, dashes := unknown.GetSpecifiedName(), "--"
	if short := unknown.GetSpecifiedShortnames(); short != "" {
		given, dashes = short, "-"
	}
	var names []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	nearest := spelling.Nearest(given, names)
	if nearest != "" {
		nearest = "--" + nearest
	}
	return Wrong("없는 옵션: %s", "unknown flag: %s", dashes+given).meaning(nearest)
}

func invalidValue(invalid *pflag.InvalidValueError) *UsageError {
	name, given := invalid.GetFlag().Name, invalid.GetValue()
	if v, ok := invalid.GetFlag().Value.(wanting); ok {
		korean, english := Halves(v.wants())
		return &UsageError{
			Korean:  fmt.Sprintf("--%s 값 %q: %s", name, given, korean),
			English: fmt.Sprintf("--%s %q: %s", name, given, english),
		}
	}
	return Wrong("--%s 값을 쓸 수 없습니다: %q", "--%s cannot be: %q", name, given)
}
