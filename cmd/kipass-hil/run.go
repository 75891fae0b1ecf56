package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kipass/kipass/internal/cli"
	"github.com/kipass/kipass/lab/hil"
)

func runCommand() *cobra.Command {
	opts := hil.Options{Folder: "lab/hil", Cycles: 200, Replugs: 100}
	about := "가상 컴퓨터에서 시나리오를 실행하고 요약을 JSON 한 줄로 출력합니다 / " +
		"run the scenarios in virtual machines and print a summary as one line of JSON"
	cmd := cli.Command("run", about, func(cmd *cobra.Command, _ []string) error {
		opts.Out = cmd.ErrOrStderr()
		return run(cmd.Context(), opts, cmd.OutOrStdout())
	})
	flags := cli.FlagsOf(cmd)
	flags.String(&opts.Folder, "sources", cli.Dir, "lab/hil의 소스 폴더 / folder of the sources of lab/hil")
	flags.String(&opts.Kernel, "kernel", cli.File,
		"커널 파일, 기본값은 build-kernel의 결과 / "+
			"file of the kernel; default what build-kernel has kept")
	names := strings.Join(hil.Scenarios(), ", ")
	flags.List(&opts.Only, "only", cli.Among("NAME", hil.Scenarios()),
		"실행할 시나리오, 여러 번 가능, 기본값은 모두: "+names+" / scenarios to run, may be repeated; default all: "+names)
	flags.Int(&opts.Cycles, "cycles", "저널의 전원을 끊는 횟수 / power cuts under the journal")
	flags.Int(&opts.Replugs, "replugs", "스캔 중 각 리더를 다시 꽂는 횟수 / replugs of each reader while scanning")
	flags.Uint64(&opts.Seed, "seed",
		"같은 전원 차단을 되풀이할 번호, 0은 매번 다름 / "+
			"repeats a run's power cuts; 0 takes others each time")
	flags.String(&opts.Logs, "logs", cli.Dir,
		"실패한 시나리오의 기록 폴더, 기본값은 새 임시 폴더 / "+
			"folder for the logs of what failed; default a new temporary one")
	return cmd
}

func run(ctx context.Context, opts hil.Options, stdout io.Writer) (err error) {
	if opts.Kernel == "" {
		if opts.Kernel, err = hil.CachedKernel(ctx, opts.Folder); err != nil {
			return err
		}
	}
	summary, err := hil.Run(ctx, opts)
	return errors.Join(err, json.NewEncoder(stdout).Encode(summary))
}
