// Command kipass-lab runs the whole of kipass on this machine and measures it.
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
	return cli.Program("kipass-lab", version,
		"한 대의 컴퓨터에서 전체 시스템을 실행하고 잽니다 / runs the whole system on one machine and measures it",
		runCommand(), matrixCommand(), simCommand(), benchCommand(), bareServerCommand(), bareGateCommand())
}

// binFlag defines the flag of the folder the programs lie in.
func binFlag(cmd *cobra.Command, dir *string) {
	cli.FlagsOf(cmd).String(dir, "bin", cli.Dir,
		"프로그램 폴더, 기본값은 이 프로그램의 폴더 / "+
			"folder of the programs; default this program's own")
}
