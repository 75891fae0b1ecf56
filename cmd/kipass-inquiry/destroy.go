package main

import (
	"github.com/spf13/cobra"

	"github.com/kipass/kipass/inquiry"
	"github.com/kipass/kipass/internal/cli"
	"github.com/kipass/kipass/protocol/order"
)

func destroyCommand() *cobra.Command {
	dir := ""
	about := "명령의 키, 답, 접촉자 명단을 파기합니다 / destroy an order's key, answers and contact list"
	cmd := cli.Command("destroy ORDER-ID", about, func(_ *cobra.Command, args []string) error {
		return withOrder(dir, args[0], func(a *inquiry.Authority, id order.ID) error { return a.Destroy(id) })
	})
	dataFlag(cmd, &dir)
	return cmd
}
