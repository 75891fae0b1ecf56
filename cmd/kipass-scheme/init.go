package main

import (
	"crypto/ed25519"
	"encoding/base64"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/kipass/kipass/internal/cli"
)

func initCommand() *cobra.Command {
	path := ""
	about := "루트 키를 만들고 공개 키를 출력합니다 / make the root key and print its public half"
	cmd := cli.Command("init", about, func(cmd *cobra.Command, _ []string) error {
		if err := makeRoot(path); err != nil {
			return err
		}
		return printPublic(cmd, path)
	})
	cmd.Long = "키 파일은 오프라인에 보관하십시오. 있는 파일은 덮어쓰지 않습니다. / Keep the file offline. A file that exists is never overwritten."
	rootKeyFlag(cmd, &path)
	return cmd
}

func publicCommand() *cobra.Command {
	path := ""
	about := "루트 공개 키를 다시 출력합니다 / print the root's public half again"
	cmd := cli.Command("public", about, func(cmd *cobra.Command, _ []string) error { return printPublic(cmd, path) })
	cmd.Long = "base64 44자이며 게이트, 서버, 보건 당국에 줍니다. / 44 characters of base64, for gates, servers and authority."
	rootKeyFlag(cmd, &path)
	return cmd
}

func printPublic(cmd *cobra.Command, path string) error {
	key, err := readRoot(path)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(cmd.OutOrStdout(), base64.StdEncoding.EncodeToString(key.Public().(ed25519.PublicKey)))
	return err
}
