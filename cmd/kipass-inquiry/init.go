package main

import (
	"github.com/spf13/cobra"

	"github.com/kipass/kipass/inquiry"
	"github.com/kipass/kipass/internal/cli"
)

func initCommand() *cobra.Command {
	dir := ""
	about := "보건 당국의 자료 폴더를 만듭니다 / make the authority's folder"
	cmd := cli.Command("init", about, func(*cobra.Command, []string) error { return inquiry.Init(dir) })
	dataFlag(cmd, &dir)
	return cmd
}
