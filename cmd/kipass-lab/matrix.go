package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/kipass/kipass/internal/cli"
	"github.com/kipass/kipass/lab/chain"
)

func matrixCommand() *cobra.Command {
	opts := chain.MatrixOptions{Scans: 14, Parallel: 4, Limit: 15 * time.Minute}
	about := "시계, 디스크, 스캐너, 전원, 통신 장애를 짝지어 모두 실행합니다 / runs with clock, disk, reader, power and network at fault together"
	cmd := cli.Command("matrix", about, func(cmd *cobra.Command, _ []string) error {
		return matrix(cmd.Context(), opts, cmd.OutOrStdout())
	})
	cmd.Long = "make lab으로 만든 프로그램이 필요합니다. 하나라도 실패하면 상태 1로 끝납니다. / " +
		"It needs the programs that make lab builds, and ends with status 1 if a single combination fails."
	flags := cli.FlagsOf(cmd)
	flags.Int(&opts.Scans, "scans", "조합마다 스캔 횟수 / number of scans of each combination")
	flags.Int(&opts.Parallel, "parallel", "동시에 실행하는 수 / how many run at a time")
	flags.Duration(&opts.Limit, "limit", "이 시간이 지나면 새로 시작하지 않음 / nothing is begun after this")
	flags.Uint64(&opts.Seed, "seed",
		"같은 방문 순서를 되풀이할 번호, 0은 매번 다름 / "+
			"repeats a matrix's orders of visitors; 0 takes others each time")
	flags.String(&opts.Dir, "data", cli.Dir,
		"자료와 기록을 남길 새 폴더, 기본값은 성공하면 지우는 임시 폴더 / "+
			"folder for data and logs of what fails, new or empty; default a temporary one, removed after a good matrix")
	binFlag(cmd, &opts.Bin)
	return cmd
}

func matrix(ctx context.Context, opts chain.MatrixOptions, stdout io.Writer) error {
	summary, err := chain.Matrix(ctx, opts, stdout)
	if summary.Combinations > 0 {
		err = errors.Join(err, json.NewEncoder(stdout).Encode(summary))
	}
	return err
}
