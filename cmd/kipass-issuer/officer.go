package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/kipass/kipass/internal/cli"
	"github.com/kipass/kipass/issuer"
	"github.com/kipass/kipass/protocol/order"
)

func officerCommand() *cobra.Command {
	return cli.Group("officer", "명령을 내릴 수 있는 보건 당국의 담당관 / officers of the health authority whose orders are obeyed",
		officerAddCommand(), officerListCommand())
}

func officerAddCommand() *cobra.Command {
	data := ""
	about := "담당관을 넣습니다, 실행 중인 서버도 바로 압니다 / add an officer; a running server sees it at once"
	cmd := cli.Command("add NAME PUBKEY", about, func(_ *cobra.Command, args []string) error {
		pub, err := order.ParsePublicKey(args[1])
		if err != nil {
			return err
		}
		return issuer.AddOfficer(data, order.Officer{Name: args[0], Public: pub})
	})
	dataFlag(cmd, &data)
	return cmd
}

func officerListCommand() *cobra.Command {
	data := ""
	cmd := cli.Command("list",
		"담당관 명부를 출력합니다 / "+
			"print the register of officers", func(cmd *cobra.Command, _ []string) error {
			officers, err := issuer.ReadOfficers(data)
			if err != nil {
				return err
			}
			for _, o := range officers.All() {
				if _, err := fmt.Fprintln(cmd.OutOrStdout(), o.Name, order.FormatPublicKey(o.Public)); err != nil {
					return err
				}
			}
			return nil
		})
	dataFlag(cmd, &data)
	return cmd
}
