package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/kipass/kipass/internal/cli"
	"github.com/kipass/kipass/issuer"
	"github.com/kipass/kipass/protocol/order"
)

func officerCommand() *cobra.Command {
	return cli.Group("officer", "명령을 내릴 수 있는 보건 당국의 담당관 / officers of the health authority whose orders are obeyed",
		officerAddCommand(), officerRemoveCommand(), officerListCommand())
}

// registerCommand returns a command on the folder's registers, whose changes a running server sees at once and logs.
func registerCommand(use, about string, run func(r issuer.Registers, cmd *cobra.Command, args []string) error) *cobra.Command {
	r := issuer.Registers{Now: time.Now}
	cmd := cli.Command(use, about, func(cmd *cobra.Command, args []string) error { return run(r, cmd, args) })
	dataFlag(cmd, &r.Dir)
	secretsFlag(cmd, &r.SecretDir)
	return cmd
}

func officerAddCommand() *cobra.Command {
	about := "담당관을 넣습니다, 실행 중인 서버도 바로 압니다 / add an officer; a running server sees it at once"
	return registerCommand("add NAME PUBKEY", about, func(r issuer.Registers, _ *cobra.Command, args []string) error {
		pub, err := order.ParsePublicKey(args[1])
		if err != nil {
			return err
		}
		return r.AddOfficer(order.Officer{Name: args[0], Public: pub})
	})
}

func officerRemoveCommand() *cobra.Command {
	about := "담당관을 뺍니다, 실행 중인 서버도 바로 압니다 / remove an officer; a running server sees it at once"
	return registerCommand("remove NAME", about, func(r issuer.Registers, _ *cobra.Command, args []string) error {
		return r.RemoveOfficer(args[0])
	})
}

func officerListCommand() *cobra.Command {
	about := "담당관 명부를 출력합니다 / print the register of officers"
	return registerCommand("list", about, func(r issuer.Registers, cmd *cobra.Command, _ []string) error {
		officers, err := r.Officers()
		if err != nil {
			return err
		}
		_, err = fmt.Fprint(cmd.OutOrStdout(), officers)
		return err
	})
}

func authorityRootCommand() *cobra.Command {
	about := "답을 받을 키를 인증하는 보건 당국의 루트 공개 키를 정합니다 / " +
		"set the health authority's public root key, which certifies who gets answers"
	cmd := registerCommand("authority-root PUBKEY", about, func(r issuer.Registers, _ *cobra.Command, args []string) error {
		root, err := order.ParseRoot(args[0])
		if err != nil {
			return err
		}
		return r.SetAuthorityRoot(root)
	})
	cmd.Long = "PUBKEY는 kipass-inquiry authority-root의 출력입니다. 이 키가 인증하지 않은 명령은 거절됩니다. / " +
		"PUBKEY is what kipass-inquiry authority-root prints. Orders that it did not certify are refused."
	return cmd
}
