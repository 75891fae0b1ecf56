package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/kipass/kipass/inquiry"
	"github.com/kipass/kipass/internal/cli"
	"github.com/kipass/kipass/protocol/order"
)

func openCommand() *cobra.Command {
	dir, format := "", "csv"
	about := "접촉자 명단을 복호화하여 출력합니다 / decrypt a contact list to standard output"
	cmd := cli.Command("open ORDER-ID", about, func(cmd *cobra.Command, args []string) error {
		return withOrder(dir, args[0], func(a *inquiry.Authority, id order.ID) error {
			list, err := a.Contacts(id)
			if err != nil {
				return err
			}
			for name, n := range list.Missing {
				fmt.Fprintf(cmd.ErrOrStderr(), "불완전: 발급회사 %[2]s의 코드 %[1]d개를 묻지 못했습니다. 명령을 다시 실행하십시오\n"+
					"INCOMPLETE: %[1]d codes of issuer %[2]s were not asked for; run the order again\n", n, name)
			}
			if format == "json" {
				return list.WriteJSON(cmd.OutOrStdout())
			}
			return list.WriteCSV(cmd.OutOrStdout())
		})
	})
	dataFlag(cmd, &dir)
	cli.FlagsOf(cmd).Choice(&format, "format", []string{"csv", "json"}, "명단의 형식 / form of the list")
	return cmd
}
