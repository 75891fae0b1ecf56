package cli

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// wide is the widest name of a flag or command, in columns, that its text stands beside; it stands below a wider one.
const wide = 28

const statuses = `
종료 상태 / exit status:
  0  성공 / done
  1  실패 / failed
  2  잘못된 명령줄이나 설정 / wrong command line or config
`

// writeHelp tells all about a command.
func writeHelp(w io.Writer, cmd *cobra.Command) {
	for _, text := range []string{cmd.Short, cmd.Long} {
		if korean, english := Halves(text); text != "" {
			fmt.Fprintf(w, "%s\n%s\n\n", korean, english)
		}
	}
	fmt.Fprintf(w, "사용법 / usage:\n  %s\n", cmd.UseLine())
	writeCommands(w, cmd)
	writeFlags(w, cmd)
	if cmd.Example != "" {
		fmt.Fprintf(w, "\n예 / examples:\n%s\n", cmd.Example)
	}
	if !cmd.HasParent() {
		fmt.Fprint(w, statuses)
	}
}

func writeCommands(w io.Writer, cmd *cobra.Command) {
	if !cmd.HasAvailableSubCommands() {
		return
	}
	fmt.Fprint(w, "\n명령 / commands:\n")
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			writeEntry(w, "  "+c.Name(), c.Short)
		}
	}
}

func writeFlags(w io.Writer, cmd *cobra.Command) {
	fmt.Fprint(w, "\n옵션 / flags:\n")
	durations := false
	write := func(f *pflag.Flag) {
		if f.Hidden {
			return
		}
		name := "      --" + f.Name
		if f.Shorthand != "" {
			name = "  -" + f.Shorthand + ", --" + f.Name
		}
		if takesValue(f) {
			name += " " + f.Value.Type()
		}
		durations = durations || f.Value.Type() == duration.name
		writeEntry(w, name, flagText(f))
	}
	cmd.LocalFlags().VisitAll(write)
	cmd.InheritedFlags().VisitAll(write)
	if durations {
		korean, english := Halves(durationForm)
		fmt.Fprintf(w, "\n%s: %s\n%[1]s: %[3]s\n", duration.name, korean, english)
	}
}

// flagText returns what a flag means, with its default.
func flagText(f *pflag.Flag) string {
	korean, english := Halves(f.Usage)
	switch {
	case Required(f):
		return korean + " (필수)" + separator + english + " (required)"
	case !takesValue(f) || f.DefValue == "":
		return f.Usage
	}
	return korean + " (기본값 " + f.DefValue + ")" + separator + english + " (default " + f.DefValue + ")"
}

// takesValue says whether a flag is more than a switch.
func takesValue(f *pflag.Flag) bool { return f.NoOptDefVal == "" }

// writeEntry writes the Korean line beside the name and the English one under it.
func writeEntry(w io.Writer, name, text string) {
	korean, english := Halves(text)
	if len(name) > wide {
		fmt.Fprintf(w, "%s\n%*s  %s\n", name, wide, "", korean)
	} else {
		fmt.Fprintf(w, "%-*s  %s\n", wide, name, korean)
	}
	fmt.Fprintf(w, "%*s  %s\n", wide, "", english)
}

func helpCommand() *cobra.Command {
	about := "명령의 도움말을 보여줍니다 / print the help of a command"
	return Command("help [COMMAND...]", about, func(cmd *cobra.Command, args []string) error {
		about, rest, err := cmd.Root().Find(args)
		if err != nil {
			return err
		}
		if len(rest) > 0 {
			return unknownCommand(about, rest[0])
		}
		return about.Help()
	})
}
