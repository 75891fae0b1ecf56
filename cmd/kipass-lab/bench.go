package main

import (
	"context"
	"errors"
	"io"

	"github.com/spf13/cobra"

	"github.com/kipass/kipass/internal/cli"
	"github.com/kipass/kipass/lab/bench"
)

func benchCommand() *cobra.Command {
	var opts bench.Options
	about := "같은 실행에서 잰 한계값 옆에 성능을 보여줍니다 / our figures beside bare limits taken in the same run"
	cmd := cli.Command("bench", about, func(cmd *cobra.Command, _ []string) error {
		opts.Log = cmd.ErrOrStderr()
		return measure(cmd.Context(), opts, cmd.OutOrStdout())
	})
	flags := cli.FlagsOf(cmd)
	flags.String(&opts.Dir, "data", cli.Dir,
		"파일 시스템을 잴 폴더, 기본값은 실제 디스크의 임시 폴더 / "+
			"folder whose filesystem is measured; default a temporary one on a real disk")
	flags.String(&opts.Only, "only", cli.Name,
		"이름에 이것이 든 측정만, 기본값은 모두 / "+
			"measure only what has this in its name; default all")
	binFlag(cmd, &opts.Bin)
	return cmd
}

// measure writes the figures that could be taken even when others could not. A target missed is told, and no error.
func measure(ctx context.Context, opts bench.Options, stdout io.Writer) error {
	figures, err := bench.Run(ctx, opts)
	if len(figures) > 0 {
		err = errors.Join(bench.Write(stdout, figures), err)
	}
	return err
}

func bareServerCommand() *cobra.Command {
	dir := ""
	about := "비교용 서버, bench가 시작합니다 / the bare server to compare with, started by bench"
	cmd := cli.Command("bare-server", about, func(cmd *cobra.Command, _ []string) error {
		return bench.ServeBare(cmd.Context(), dir, cmd.OutOrStdout())
	})
	cli.FlagsOf(cmd).Data(&dir, "자료 폴더 / folder for its data")
	return cmd
}

func bareGateCommand() *cobra.Command {
	dir := ""
	about := "비교용 게이트, bench가 시작합니다 / the bare gate to compare with, started by bench"
	cmd := cli.Command("bare-gate", about, func(cmd *cobra.Command, _ []string) error {
		return bench.ServeBareGate(cmd.Context(), dir, cmd.OutOrStdout())
	})
	cli.FlagsOf(cmd).Data(&dir, "단말 장치가 있는 폴더 / folder that has its terminal")
	return cmd
}
