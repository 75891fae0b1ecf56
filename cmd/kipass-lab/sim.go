package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/kipass/kipass/internal/cli"
	"github.com/kipass/kipass/lab/sim/seeds"
)

func simCommand() *cobra.Command {
	opts := seeds.Options{First: 1, Count: 200, Parallel: runtime.NumCPU()}
	var one uint64
	var bin string
	about := "가상 시간으로 여러 주를 모의 실행합니다 / plays weeks of gates and servers under synthetic time"
	cmd := cli.Command("sim", about, func(cmd *cobra.Command, _ []string) error {
		opts.Log = cmd.ErrOrStderr()
		if one > 0 {
			opts.First, opts.Count, opts.Trace = one, 1, true
		}
		return sim(cmd.Context(), bin, opts, cmd.OutOrStdout())
	})
	cmd.Long = "전원 차단, 디스크와 네트워크 장애, 틀린 시계를 번호(seed)마다 정해진 순서로 일으키고 시스템의 약속을 확인합니다. / " +
		"Cuts power, breaks disks and networks and sets clocks wrong as each seed draws it, and holds the system to its promises."
	flags := cli.FlagsOf(cmd)
	flags.Uint64(&one, "seed", "이 번호만 실행하고 일어난 일을 모두 출력 / play this seed alone and tell all that happens")
	flags.Uint64(&opts.First, "first", "첫 번호 / first seed")
	flags.Int(&opts.Count, "seeds", "번호의 수 / number of seeds")
	flags.Int(&opts.Days, "days", "모의 일수, 0은 번호마다 다름 / days to play; 0 lets each seed draw them")
	flags.Int(&opts.Parallel, "parallel", "동시에 실행할 수 / how many at once")
	binFlag(cmd, &bin)
	return cmd
}

func sim(ctx context.Context, bin string, opts seeds.Options, stdout io.Writer) error {
	if bin == "" {
		self, err := os.Executable()
		if err != nil {
			return err
		}
		bin = filepath.Dir(self)
	}
	opts.Program = filepath.Join(bin, "kipass-sim")
	summary, err := seeds.Play(ctx, opts)
	return errors.Join(err, json.NewEncoder(stdout).Encode(summary))
}
