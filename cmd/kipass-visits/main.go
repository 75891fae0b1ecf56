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

// secretsFlag defines the flag of commands that open the server's keys.
func secretsFlag(cmd *cobra.Command, folder *visitserver.Folder) {
	cli.FlagsOf(cmd).String(&folder.Secrets, "secrets", cli.Dir,
		"비밀 폴더, 다른 디스크가 좋음, 기본값은 systemd 인증 정보 또는 자료 폴더 이름에 .secrets를 붙인 폴더 / "+
			"folder of the secrets, best on another disk; default systemd's credentials, or the data folder's name with .secrets behind")
}
