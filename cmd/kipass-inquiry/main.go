// Command kipass-inquiry is the health authority's program: officers order and approve an inquiry, and the contact list
// of one case is made, read and destroyed with it.
package main

import (
	"errors"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/kipass/kipass/inquiry"
	"github.com/kipass/kipass/internal/cli"
	"github.com/kipass/kipass/protocol/order"
)

// version is set by the build.
var version = "unknown"

func main() { os.Exit(cli.Main(newProgram())) }

func newProgram() *cobra.Command {
	return cli.Program("kipass-inquiry", version,
		"질병관리본부의 접촉자 조사 / inquiries of the health authority",
		initCommand(), authorityRootCommand(), officerCommand(), orderCommand(), approveCommand(), runCommand(), openCommand(),
		destroyCommand(), auditCommand(), auditKeyCommand())
}

// dataFlag defines the flag every command on the authority's folder has.
func dataFlag(cmd *cobra.Command, dir *string) {
	cli.FlagsOf(cmd).Data(dir, "보건 당국의 자료 폴더 / folder of the authority")
}

// officerKeyFlag defines the flag of the key that signs.
func officerKeyFlag(cmd *cobra.Command, path *string) {
	flags := cli.FlagsOf(cmd)
	flags.String(path, "officer-key", cli.File, "담당관의 개인 키 파일 / file of the officer's private key")
	flags.Require("officer-key")
}

// withAuthority runs f with the folder open.
func withAuthority(dir string, f func(*inquiry.Authority) error) error {
	a, err := inquiry.Open(dir, time.Now)
	if err != nil {
		return err
	}
	return errors.Join(f(a), a.Close())
}

// withOrder runs f with the folder open, on the order whose id is given.
func withOrder(dir, id string, f func(*inquiry.Authority, order.ID) error) error {
	parsed, err := order.ParseID(id)
	if err != nil {
		return err
	}
	return withAuthority(dir, func(a *inquiry.Authority) error { return f(a, parsed) })
}
