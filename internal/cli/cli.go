// Package cli is the one way in which the programs talk to whoever types their commands: the same words for the same
// thing, the same help, errors and exit statuses, completion for shells and manual pages, all from one definition.
//
// Every text is written "한국어 / English": Korean first, then " / ", then English, and neither holds " / " itself.
// Shells show the text in one line; help puts the Korean line above the English one.
package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
)

// Exit statuses. A command that has another one says so in its help and returns it by WithStatus.
const (
	StatusDone   = 0
	StatusFailed = 1
	StatusUsage  = 2 // the command line or the config is wrong: the same call again cannot succeed
)

const separator = " / "

// Halves returns a text's Korean and English.
func Halves(text string) (korean, english string) {
	korean, english, _ = strings.Cut(text, separator)
	return korean, english
}

// Streams are what a command reads from and writes to.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
}

// Program returns a program's root command. It adds --help and --version, and the commands help, completion and man.
// about says in one line what the program is.
func Program(name, version, about string, commands ...*cobra.Command) *cobra.Command {
	root := Group(name, about, commands...)
	root.AddCommand(completionCommand(), manCommand(version))
	root.SetHelpCommand(helpCommand())
	root.SetHelpFunc(func(cmd *cobra.Command, _ []string) { writeHelp(cmd.OutOrStdout(), cmd) })
	root.SetFlagErrorFunc(flagError)
	root.CompletionOptions.DisableDefaultCmd = true
	root.DisableAutoGenTag = true
	root.SilenceErrors, root.SilenceUsage = true, true
	root.PersistentFlags().BoolP("help", "h", false, "도움말을 보여줍니다 / print this help")
	show := root.Flags().Bool("version", false, "버전을 보여줍니다 / print the version")
	root.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error { return checkRequired(cmd) }
	withoutCommand := root.RunE
	root.RunE = func(cmd *cobra.Command, args []string) error {
		if *show {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), name, version)
			return err
		}
		return withoutCommand(cmd, args)
	}
	return root
}

// Command returns a command that takes the arguments named in use: "add FACILITY [NAME]" takes one or two, "sign
// ISSUER-FILE..." one or more. An argument whose name ends in FILE or DIR is completed as such.
func Command(use, short string, run func(cmd *cobra.Command, args []string) error) *cobra.Command {
	name, names, _ := strings.Cut(use, " ")
	wanted := parseArguments(names)
	return &cobra.Command{
		Use: strings.TrimSpace(name + " [FLAGS] " + names), DisableFlagsInUseLine: true,
		Short: short, Args: wanted.check, ValidArgsFunction: wanted.complete, RunE: run,
	}
}

// Group returns a command that only holds others.
func Group(name, short string, commands ...*cobra.Command) *cobra.Command {
	group := &cobra.Command{
		Use: name + " COMMAND [FLAGS]", DisableFlagsInUseLine: true,
		Short: short, Args: isCommand, ValidArgsFunction: cobra.NoFileCompletions, RunE: commandMissing,
	}
	group.AddCommand(commands...)
	return group
}

// Main runs a program with the process's own arguments, streams and signals and returns its exit status. SIGINT and
// SIGTERM end the commands' context.
func Main(root *cobra.Command) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return Run(ctx, root, os.Args[1:], Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr})
}

// Run runs a program with the arguments after its name and returns its exit status. An error is written once, to
// streams.Err. A root command holds the values of its flags and is good for one run.
func Run(ctx context.Context, root *cobra.Command, args []string, streams Streams) int {
	root.SetArgs(slices.Concat([]string{}, args)) // never nil, which cobra takes for the process's own arguments
	root.SetIn(streams.In)
	root.SetOut(streams.Out)
	root.SetErr(streams.Err)
	cmd, err := root.ExecuteContextC(ctx)
	return report(streams.Err, cmd, err)
}
