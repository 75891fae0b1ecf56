// Command kipass-visits is the central visit server and its operator's tool.
package main

import (
	"os"

	"github.com/spf13/cobra"

	"github.com/kipass/kipass/internal/cli"
	"github.com/kipass/kipass/visitserver"
)

// version is set by the build.
var version = "unknown"

func main() { os.Exit(cli.Main(newProgram())) }

func newProgram() *cobra.Command {
	commands := append([]*cobra.Command{initCommand(), serveCommand(), auditCommand()}, operatorCommands()...)
	return cli.Program("kipass-visits", version,
		"전자출입명부 방문 서버 / central visit server of the electronic entry register", commands...)
}

// dataFlag defines the flag of the server's folder.
func dataFlag(cmd *cobra.Command, folder *visitserver.Folder) {
	cli.FlagsOf(cmd).Data(&folder.Dir, "서버의 자료 폴더 / folder of the server")
}

// masterKeyFlag defines the flag of commands that open the server's keys.
func masterKeyFlag(cmd *cobra.Command, folder *visitserver.Folder) {
	cli.FlagsOf(cmd).String(&folder.Master, "master-key", cli.File,
		"마스터 키 파일, 자료와 따로 둘 때, 기본값은 자료 폴더의 master.key / "+
			"file of the master key, apart from the data; default master.key in the data folder")
}
