// Command kipass-scheme is the scheme operator's tool: it keeps the root key and signs trust lists, which say whose
// entry codes are genuine.
package main

import (
	"os"

	"github.com/spf13/cobra"

	"github.com/kipass/kipass/internal/cli"
)

// version is set by the build.
var version = "unknown"

func main() { os.Exit(cli.Main(newProgram())) }

func newProgram() *cobra.Command {
	return cli.Program("kipass-scheme", version,
		"전자출입명부 운영자의 루트 키와 신뢰 목록 / root key and trust list of the electronic entry register",
		initCommand(), publicCommand(), signCommand(), showCommand())
}

// rootKeyFlag defines the flag of the root key's file.
func rootKeyFlag(cmd *cobra.Command, path *string) {
	flags := cli.FlagsOf(cmd)
	flags.String(path, "root-key", cli.File, "루트 개인 키 파일 / file of the private root key")
	flags.Require("root-key")
}
