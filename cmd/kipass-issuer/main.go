// Command kipass-issuer is a QR issuer: it registers holders, gives them one-time entry codes, and opens codes for an
// approved order of the health authority.
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
	return cli.Program("kipass-issuer", version,
		"전자출입명부 QR발급회사 / QR issuer of the electronic entry register",
		initCommand(), serveCommand(), officerCommand(), authorityRootCommand(), tokenCommand(), keysCommand(), publicKeyCommand(), auditKeyCommand())
}

// dataFlag defines the flag every command has.
func dataFlag(cmd *cobra.Command, dir *string) {
	cli.FlagsOf(cmd).Data(dir, "발급회사의 자료 폴더 / folder of the issuer")
}

// secretsFlag defines the flag of commands that need a key.
func secretsFlag(cmd *cobra.Command, dir *string) {
	cli.FlagsOf(cmd).String(dir, "secrets", cli.Dir,
		"비밀 폴더, 다른 디스크가 좋음, 기본값은 systemd 인증 정보 또는 자료 폴더 이름에 .secrets를 붙인 폴더 / "+
			"folder of the secrets, best on another disk; default systemd's credentials, or the data folder's name with .secrets behind")
}
