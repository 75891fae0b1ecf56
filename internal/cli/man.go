package cli

import (
	"cmp"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
	"github.com/spf13/pflag"
)

func manCommand(version string) *cobra.Command {
	dir := ""
	about := "설명서(man)를 명령마다 한 파일로 만듭니다 / write the manual pages, one file a command"
	cmd := Command("man", about, func(cmd *cobra.Command, _ []string) error {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("making the folder of the manual pages: %w", err)
		}
		root := cmd.Root()
		asInHelp(root)
		header := doc.GenManHeader{Section: "1", Source: root.Name() + " " + version, Manual: "kipass"}
		return doc.GenManTree(root, &header, dir)
	})
	flags := FlagsOf(cmd)
	flags.String(&dir, "dir", Dir, "설명서를 둘 폴더, 없으면 만듭니다 / folder for the pages, made if missing")
	flags.Require("dir")
	return cmd
}

// asInHelp makes the pages read as help does: Korean above English, the value's name behind its flag, requirement and
// default in the text. The tree is of no other use afterwards.
func asInHelp(cmd *cobra.Command) {
	cmd.Long = aboveEachOther(cmp.Or(cmd.Long, cmd.Short))
	cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
		f.Usage = aboveEachOther(flagText(f))
		if takesValue(f) {
			f.DefValue = f.Value.Type()
		}
	})
	for _, c := range cmd.Commands() {
		asInHelp(c)
	}
}

// aboveEachOther puts a text's languages on lines of their own, in Markdown.
func aboveEachOther(text string) string { return strings.Replace(text, separator, "  \n", 1) }
