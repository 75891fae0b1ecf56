package main

import (
	"encoding/json"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/kipass/kipass/internal/cli"
	"github.com/kipass/kipass/protocol/publickey"
	"github.com/kipass/kipass/protocol/token"
)

func showCommand() *cobra.Command {
	root := ""
	about := "신뢰 목록을 루트 공개 키로 확인하고 JSON으로 출력합니다 / " +
		"check a trust list against the root's public half and print it as JSON"
	cmd := cli.Command("show LIST-FILE", about, func(cmd *cobra.Command, args []string) error {
		return show(root, args[0], cmd.OutOrStdout())
	})
	flags := cli.FlagsOf(cmd)
	flags.String(&root, "trust-root", cli.Key, "루트 공개 키, base64 44자 / the root's public half, 44 characters of base64")
	flags.Require("trust-root")
	return cmd
}

func show(root, path string, stdout io.Writer) error {
	pub, err := publickey.Parse(root)
	if err != nil {
		return cli.WrongKey("trust-root", err)
	}
	list, err := token.ReadTrustList(pub, path)
	if err != nil {
		return err
	}
	shown := struct {
		Version  uint64                 `json:"version"`
		IssuedAt time.Time              `json:"issued_at"`
		Expires  time.Time              `json:"expires"`
		Issuers  []token.IssuerMetadata `json:"issuers"`
	}{list.Version, list.IssuedAt, list.Expires, []token.IssuerMetadata{}}
	for _, i := range list.Issuers {
		shown.Issuers = append(shown.Issuers, token.MetadataOf(i))
	}
	enc := json.NewEncoder(stdout)
	enc.SetIndent("", "  ")
	return enc.Encode(shown)
}
