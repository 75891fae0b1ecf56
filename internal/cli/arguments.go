package cli

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/kipass/kipass/internal/spelling"
)

// arguments are what stands behind a command and is no flag.
type arguments struct {
	names []string
	least int  // how many there must be
	more  bool // whether the last may be repeated
}

// parseArguments reads the arguments' names: NAME is needed, [NAME] is not, NAME... is needed at least once.
func parseArguments(names string) arguments {
	var a arguments
	for _, word := range strings.Fields(names) {
		if !strings.HasPrefix(word, "[") {
			a.least++
		}
		a.more = strings.Contains(word, "...")
		a.names = append(a.names, strings.ReplaceAll(strings.Trim(word, "[]"), "...", ""))
	}
	return a
}

func (a arguments) check(_ *cobra.Command, args []string) error {
	if len(args) < a.least {
		return Wrong("인자가 없습니다: %s", "argument missing: %s", a.names[len(args)])
	}
	if len(args) > len(a.names) && !a.more {
		return Wrong("필요 없는 인자: %q", "unexpected argument: %q", args[len(a.names)])
	}
	return nil
}

// complete says how a shell completes the next argument.
func (a arguments) complete(_ *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) >= len(a.names) && !a.more {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	switch name := a.names[min(len(args), len(a.names)-1)]; {
	case strings.HasSuffix(name, "FILE"):
		return nil, cobra.ShellCompDirectiveDefault
	case strings.HasSuffix(name, "DIR"):
		return nil, cobra.ShellCompDirectiveFilterDirs
	}
	return nil, cobra.ShellCompDirectiveNoFileComp
}

// isCommand refuses what stands behind a group and names none of its commands.
func isCommand(group *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return unknownCommand(group, args[0])
}

func unknownCommand(group *cobra.Command, name string) *UsageError {
	return Wrong("없는 명령: %q", "unknown command: %q", name).meaning(spelling.Nearest(name, commandNames(group)))
}

func commandMissing(group *cobra.Command, _ []string) error {
	return Wrong("명령이 필요합니다: %s", "a command is needed: %s", strings.Join(commandNames(group), ", "))
}

func commandNames(group *cobra.Command) []string {
	var names []string
	for _, c := range group.Commands() {
		if c.IsAvailableCommand() {
			names = append(names, c.Name())
		}
	}
	return names
}
