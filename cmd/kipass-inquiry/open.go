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
			for _, line := range list.Warnings() {
				fmt.Fprintln(cmd.ErrOrStderr(), line)
			}
			write := list.WriteCSV
			if format == "json" {
				write = list.WriteJSON
			}
			if err := write(cmd.OutOrStdout()); err != nil || list.Complete {
				return err
			}
			return cli.WithStatus(statusPartial, inquiry.ErrPartial)
		})
	})
	cmd.Long = "명단이 불완전하면 모두 출력한 뒤 종료 상태는 3입니다. / " +
		"If the list is incomplete, all of it is printed and the exit status is 3."
	dataFlag(cmd, &dir)
	cli.FlagsOf(cmd).Choice(&format, "format", []string{"csv", "json"}, "명단의 형식 / form of the list")
	return cmd
}
