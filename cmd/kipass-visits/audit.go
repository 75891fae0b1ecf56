package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/kipass/kipass/internal/cli"
	"github.com/kipass/kipass/protocol/auditlog"
)

func auditCommand() *cobra.Command {
	dir, key := "", ""
	var since []string
	about := "감사 기록을 서명된 체크포인트로 확인합니다 / check the audit log against its signed checkpoint"
	cmd := cli.Command("audit", about, func(cmd *cobra.Command, _ []string) error {
		older, err := cli.ReadFiles(since)
		if err != nil {
			return err
		}
		report, err := auditlog.VerifyDir(dir, cli.ValueOrFile(key), older...)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "감사 기록이 맞습니다 / the audit log holds: %+v\n", report)
		return err
	})
	cmd.Long = "기록의 사본만 있으면 누구나 언제든지 할 수 있습니다. / Anybody with a copy of the log can do it at any time."
	flags := cli.FlagsOf(cmd)
	flags.String(&dir, "audit-log", cli.Dir, "기록의 폴더 / folder of the log")
	flags.String(&key, "audit-key", cli.Key,
		"기록을 확인하는 공개 키 또는 그 파일 (audit.vkey) / the log's public key, or a file that holds it (audit.vkey)")
	flags.Strings(&since, "since", cli.File,
		"전에 보관한 체크포인트, 그 뒤로 늘어나기만 했어야 함, 여러 번 가능, 기본값 없음 / "+
			"checkpoint kept earlier: the log must only have grown since; may be repeated; default none")
	flags.Require("audit-log", "audit-key")
	return cmd
}
