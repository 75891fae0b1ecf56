// Command kipass-hil runs the drivers and the journal on a real kernel in virtual machines; make hil calls it.
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
	return cli.Program("kipass-hil", version,
		"하드웨어 없이 실제 커널에서 드라이버와 저널을 시험합니다 / drivers and journal on a real kernel without hardware",
		runCommand())
}
