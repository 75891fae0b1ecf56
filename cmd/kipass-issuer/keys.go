package main

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kipass/kipass/internal/cli"
	"github.com/kipass/kipass/issuer"
	"github.com/kipass/kipass/protocol/token"
)

func publicKeyCommand() *cobra.Command {
	data, secrets, url := "", "", ""
	about := "신뢰 목록에 넣을 내용을 JSON으로 출력합니다 / print what the trust list says of this issuer, as JSON"
	cmd := cli.Command("public-key", about, func(cmd *cobra.Command, _ []string) error {
		if !strings.HasPrefix(url, "https://") {
			return cli.Wrong("--url은 https://로 시작해야 합니다", "--url must begin with https://")
		}
		about, pub, err := issuer.Describe(data, secrets)
		if err != nil {
			return err
		}
		enc := json.NewEncoder(cmd.OutOrStdout())
		enc.SetIndent("", "  ")
		return enc.Encode(token.MetadataOf(token.Issuer{Name: about.Name, Display: about.Display, URL: url, Keys: []token.IssuerKey{{
			Issuer: about.Name, Public: pub, NotBefore: about.NotBefore, NotAfter: about.NotAfter,
		}}}))
	})
	cmd.Long = "운영자에게 줍니다 (kipass-scheme sign). / It is for the scheme operator (kipass-scheme sign)."
	dataFlag(cmd, &data)
	secretsFlag(cmd, &secrets)
	flags := cli.FlagsOf(cmd)
	flags.String(&url, "url", cli.URL, "보건 당국이 이 발급회사에 닿는 주소 / URL at which the health authority reaches this issuer")
	flags.Require("url")
	return cmd
}

func auditKeyCommand() *cobra.Command {
	data, secrets := "", ""
	about := "감사 기록을 확인하는 공개 키를 출력합니다 / print the public key with which the audit log is checked"
	cmd := cli.Command("audit-key", about, func(cmd *cobra.Command, _ []string) error {
		key, err := issuer.AuditKey(data, secrets)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(cmd.OutOrStdout(), key)
		return err
	})
	cmd.Long = "확인은 kipass-inquiry audit으로 합니다. / kipass-inquiry audit checks the log with it."
	dataFlag(cmd, &data)
	secretsFlag(cmd, &secrets)
	return cmd
}
