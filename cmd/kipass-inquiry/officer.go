package main

import (
	"crypto/ed25519"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/kipass/kipass/inquiry"
	"github.com/kipass/kipass/internal/cli"
	"github.com/kipass/kipass/internal/keyfile"
	"github.com/kipass/kipass/protocol/order"
)

func officerCommand() *cobra.Command {
	return cli.Group("officer",
		"담당관의 키와 명부 / "+
			"keys and register of officers", officerKeygenCommand(), officerAddCommand(), officerRemoveCommand(), officerListCommand())
}

func officerKeygenCommand() *cobra.Command {
	path := ""
	about := "담당관의 키를 만듭니다 / make an officer's key"
	cmd := cli.Command("keygen NAME", about, func(cmd *cobra.Command, args []string) error {
		pub, key, err := ed25519.GenerateKey(nil)
		if err != nil {
			return fmt.Errorf("making the officer's key: %w", err)
		}
		if _, err := order.NewOfficers(order.Officer{Name: args[0], Public: pub}); err != nil {
			return err
		}
		if err := keyfile.Create(path, key); err != nil {
			return err
		}
		_, err = fmt.Fprintln(cmd.OutOrStdout(), args[0], order.FormatPublicKey(pub))
		return err
	})
	cmd.Long = "모든 담당관 명부에 넣을 \"NAME PUBKEY\"를 출력합니다. / It prints \"NAME PUBKEY\", for every register of officers."
	cli.FlagsOf(cmd).Output(&path, "새로 만들 개인 키 파일 / file of the private key, made new")
	return cmd
}

func officerAddCommand() *cobra.Command {
	dir := ""
	about := "담당관을 명부에 넣습니다 / add an officer to the authority's own register"
	cmd := cli.Command("add NAME PUBKEY", about, func(_ *cobra.Command, args []string) error {
		pub, err := order.ParsePublicKey(args[1])
		if err != nil {
			return err
		}
		return withAuthority(dir, func(a *inquiry.Authority) error {
			return a.AddOfficer(order.Officer{Name: args[0], Public: pub})
		})
	})
	dataFlag(cmd, &dir)
	return cmd
}

func officerRemoveCommand() *cobra.Command {
	dir := ""
	about := "담당관을 명부에서 뺍니다 / remove an officer from the authority's own register"
	cmd := cli.Command("remove NAME", about, func(_ *cobra.Command, args []string) error {
		return withAuthority(dir, func(a *inquiry.Authority) error { return a.RemoveOfficer(args[0]) })
	})
	cmd.Long = "방문 서버와 발급회사의 명부에서도 빼야 합니다. / The visit server's and the issuers' registers must drop the officer too."
	dataFlag(cmd, &dir)
	return cmd
}

func officerListCommand() *cobra.Command {
	dir := ""
	about := "담당관 명부를 출력합니다 / print the authority's own register of officers"
	cmd := cli.Command("list", about, func(cmd *cobra.Command, _ []string) error {
		return withAuthority(dir, func(a *inquiry.Authority) error {
			officers, err := a.Officers()
			if err != nil {
				return err
			}
			_, err = fmt.Fprint(cmd.OutOrStdout(), officers)
			return err
		})
	})
	dataFlag(cmd, &dir)
	return cmd
}
