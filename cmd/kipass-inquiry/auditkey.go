package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/kipass/kipass/inquiry"
	"github.com/kipass/kipass/internal/cli"
)

func auditKeyCommand() *cobra.Command {
	dir := ""
	about := "보건 당국의 감사 기록을 확인하는 키를 출력합니다 / print the key with which the authority's own audit log is checked"
	cmd := cli.Command("audit-key", about, func(cmd *cobra.Command, _ []string) error {
		key, err := inquiry.AuditKey(dir)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(cmd.OutOrStdout(), key)
		return err
	})
	dataFlag(cmd, &dir)
	return cmd
}
