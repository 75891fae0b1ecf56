package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/kipass/kipass/inquiry"
	"github.com/kipass/kipass/internal/cli"
	"github.com/kipass/kipass/protocol/order"
)

func initCommand() *cobra.Command {
	dir, name := "", inquiry.DefaultName
	about := "보건 당국의 자료 폴더를 만들고 루트 공개 키를 출력합니다 / make the authority's folder and print its public root key"
	cmd := cli.Command("init", about, func(cmd *cobra.Command, _ []string) error {
		if err := inquiry.Init(dir, name); err != nil {
			return err
		}
		return printRoot(cmd, dir)
	})
	cmd.Long = rootUse
	dataFlag(cmd, &dir)
	cli.FlagsOf(cmd).String(&name, "display", cli.Text, "사람이 보는 기관 이름 / name of the authority, for people")
	return cmd
}

func authorityRootCommand() *cobra.Command {
	dir := ""
	about := "루트 공개 키를 다시 출력합니다 / print the authority's public root key again"
	cmd := cli.Command("authority-root", about, func(cmd *cobra.Command, _ []string) error { return printRoot(cmd, dir) })
	cmd.Long = rootUse
	dataFlag(cmd, &dir)
	return cmd
}

const rootUse = "방문 서버와 발급회사는 kipass-visits authority-root와 kipass-issuer authority-root로 이 키를 정합니다. 이 키가 인증한 키에만 답합니다. / " +
	"Visit server and issuers set it with kipass-visits authority-root and kipass-issuer authority-root, and answer only to keys that it certified."

func printRoot(cmd *cobra.Command, dir string) error {
	root, err := inquiry.RootKey(dir)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(cmd.OutOrStdout(), order.FormatRoot(root))
	return err
}
