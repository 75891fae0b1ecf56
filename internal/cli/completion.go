package cli

import (
	"github.com/spf13/cobra"
)

func completionCommand() *cobra.Command {
	bash := Command("bash", "bash 자동 완성 / completion for bash", func(cmd *cobra.Command, _ []string) error {
		return cmd.Root().GenBashCompletionV2(cmd.OutOrStdout(), true)
	})
	zsh := Command("zsh", "zsh 자동 완성 / completion for zsh", func(cmd *cobra.Command, _ []string) error {
		return cmd.Root().GenZshCompletion(cmd.OutOrStdout())
	})
	return Group("completion", "셸 자동 완성 스크립트를 출력합니다 / print a completion script for a shell", bash, zsh)
}
