package cli

import (
	"github.com/spf13/cobra"
)

// A Kind is what a flag's value is: the name that help shows for it and how a shell completes it.
type Kind struct {
	name     string
	complete func(cmd *cobra.Command, flag string) error
}

// Kinds of text.
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

// Kinds that have methods of their own.
var (
	number   = Kind{"N", uncompleted}
	duration = Kind{"DURATION", uncompleted}
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
