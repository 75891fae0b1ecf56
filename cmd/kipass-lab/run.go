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

func runCommand() *cobra.Command {
	opts := chain.Options{Baud: 115200, Pace: 250 * time.Millisecond, Reader: chain.ReaderHabits[0]}
	about := "발급, 스캔, 기록, 동기화, 역학조사를 모두 실행합니다 / codes issued, scanned, journalled, synced, traced"
	cmd := cli.Command("run", about, func(cmd *cobra.Command, _ []string) error {
		opts.Log = cmd.ErrOrStderr()
		return run(cmd.Context(), opts, cmd.OutOrStdout())
	})
	flags := cli.FlagsOf(cmd)
	flags.Int(&opts.Scans, "scans", "스캔 횟수, 0은 ^C까지 / number of scans; 0 goes on until ^C")
	flags.Duration(&opts.Outage, "outage", "중간에 방문 서버를 끊는 시간 / cut the visit server off for this long in the middle")
	flags.Duration(&opts.Kill, "kill",
		"게이트를 SIGKILL로 강제 종료하는 주기, 0은 하지 않음 / "+
			"kill the gate with SIGKILL this often; 0 never")
	flags.String(&opts.Clock, "clock", cli.Name,
		"틀린 시계: gate+9h, visits-10m@5s(5초 뒤에 바뀜), gate+40s/battery(배터리 시계). 기본값은 없음 / "+
			"a wall clock that is wrong: gate+9h, visits-10m@5s (stepped after 5 s), gate+40s/battery (kept by a battery); default none")
	flags.Choice(&opts.Disk, "disk", chain.DiskFaults,
		"중간에 생기는 게이트 디스크 오류, full과 readonly는 root로, 기본값은 없음 / "+
			"what becomes of the gate's disk in the middle; full and readonly as root; default none")
	flags.Choice(&opts.Reader, "reader", chain.ReaderHabits,
		"스캐너가 코드 앞뒤와 사이에 보내는 것 / what the reader puts around codes, or sends between them")
	flags.Int(&opts.Baud, "baud", "직렬 속도, bit/s / speed of the serial line, bit/s")
	flags.Uint64(&opts.Seed, "seed",
		"같은 방문 순서를 되풀이할 번호, 0은 매번 다름 / "+
			"repeats a run's order of visitors; 0 takes another each time")
	flags.Duration(&opts.Pace, "pace", "스캔 간격 / time between two scans")
	flags.Choice(&opts.Sound, "sound", []string{"capture", "device"},
		"음성을 세어 보거나(capture) 이 컴퓨터의 스피커로 냄(device), 기본값은 --scans가 있으면 capture, 없으면 소리 없음 / "+
			"count the voice's samples (capture) or play it on this machine's speaker (device); default capture with --scans, else no sound")
	flags.String(&opts.Dir, "data", cli.Dir,
		"자료와 기록을 남길 새 폴더, 기본값은 성공하면 지우는 임시 폴더 / "+
			"folder for data and logs, new or empty, kept; default a temporary one, removed after a good run")
	binFlag(cmd, &opts.Bin)
	return cmd
}

func run(ctx context.Context, opts chain.Options, stdout io.Writer) error {
	summary, err := chain.Run(ctx, opts)
	if summary.Outcomes != nil {
		err = errors.Join(err, json.NewEncoder(stdout).Encode(summary))
	}
	return err
}
