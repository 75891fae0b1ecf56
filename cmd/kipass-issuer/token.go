package main

import (
	"fmt"
	"maps"
	"slices"

	"github.com/spf13/cobra"

	"github.com/kipass/kipass/internal/cli"
	"github.com/kipass/kipass/issuer"
)

func tokenCommand() *cobra.Command {
	return cli.Group("token", "방문자를 등록할 수 있는 쪽의 토큰 / tokens of those who register holders",
		tokenAddCommand(), tokenRevokeCommand(), tokenListCommand())
}

func tokenAddCommand() *cobra.Command {
	about := "새 토큰을 한 번만 출력합니다 / print a new token, this once"
	return registerCommand("add NAME", about, func(r issuer.Registers, cmd *cobra.Command, args []string) error {
		token, err := r.AddToken(args[0])
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(cmd.OutOrStdout(), token)
		return err
	})
}

func tokenRevokeCommand() *cobra.Command {
	about := "토큰을 바로 끝냅니다 / end a token at once"
	return registerCommand("revoke NAME", about, func(r issuer.Registers, _ *cobra.Command, args []string) error {
		return r.RevokeToken(args[0])
	})
}

func tokenListCommand() *cobra.Command {
	about := "토큰의 이름과 감사 기록에 있는 식별자를 출력합니다 / print the tokens' names and how the audit log identifies them"
	return registerCommand("list", about, func(r issuer.Registers, cmd *cobra.Command, _ []string) error {
		tokens, err := r.Tokens()
		if err != nil {
			return err
		}
		for _, name := range slices.Sorted(maps.Keys(tokens)) {
			if _, err := fmt.Fprintln(cmd.OutOrStdout(), name, tokens[name]); err != nil {
				return err
			}
		}
		return nil
	})
}
