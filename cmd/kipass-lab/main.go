// Command kipass-lab runs the whole of kipass on this machine and measures it.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/kipass/kipass/lab/bench"
	"github.com/kipass/kipass/lab/chain"
)

const usage = `kipass-lab – 한 대의 컴퓨터에서 전체 시스템을 실행합니다 / runs the whole system on one machine

  kipass-lab run [options]   발급 → 스캔 → 기록 → 동기화 → 역학조사 / codes issued, scanned, journalled, synced, traced
  kipass-lab bench           성능 측정 / our figures against bare limits taken in the same run

옵션은 -h 로 봅니다. / Add -h to a command for its options.
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	name := ""
	if len(args) > 0 {
		name, args = args[0], args[1:]
	}
	var err error
	switch name {
	case "run":
		err = runLab(ctx, args, stdout, stderr)
	case "bench":
		err = runBench(ctx, args, stdout, stderr)
	case "bare-server": // started by bench
		err = runBareServer(ctx, args, stdout, stderr)
	case "-h", "--help", "help":
		fmt.Fprint(stdout, usage)
		return 0
	default:
		fmt.Fprint(stderr, usage)
		return 2
	}
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		fmt.Fprintln(stderr, "kipass-lab:", err)
		return 1
	}
	return 0
}

func runLab(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("kipass-lab run", flag.ContinueOnError)
	flags.SetOutput(stderr)
	o := chain.Options{Log: stderr}
	flags.IntVar(&o.Scans, "scans", 0, "스캔 횟수, 0은 ^C까지 / number of scans; 0 goes on until ^C")
	flags.DurationVar(&o.Outage, "outage", 0, "서버 단절 시간 / cut the visit server off for this long in the middle")
	flags.DurationVar(&o.Kill, "kill", 0, "게이트 강제 종료 주기 / kill the gate with SIGKILL this often")
	flags.IntVar(&o.Baud, "baud", 115200, "직렬 속도 / speed of the serial line, bit/s")
	flags.Uint64Var(&o.Seed, "seed", 0, "같은 순서를 되풀이 / repeat a run's order of visitors; 0 takes another each time")
	flags.DurationVar(&o.Pace, "pace", 0, "스캔 간격 / time between scans; default 250ms")
	flags.StringVar(&o.Sound, "sound", "", "capture: 음성을 세어 봄 / count the voice's samples; device: 이 컴퓨터의 스피커 / this machine's speaker")
	flags.StringVar(&o.Dir, "dir", "", "자료 폴더(새 폴더, 지우지 않음) / folder for data and logs, new or empty, kept; default a temporary one, removed after a good run")
	flags.StringVar(&o.Bin, "bin", "", "프로그램 폴더 / folder of the programs; default this program's own")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q; see kipass-lab run -h", flags.Arg(0))
	}
	summary, err := chain.Run(ctx, o)
	if summary.Outcomes != nil {
		if e := json.NewEncoder(stdout).Encode(summary); e != nil {
			return errors.Join(err, e)
		}
	}
	return err
}

// runBench writes the figures that could be taken even when others could not. A target missed is told, and no error.
func runBench(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("kipass-lab bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	o := bench.Options{Log: stderr}
	flags.StringVar(&o.Dir, "dir", "", "측정할 폴더 / folder whose filesystem is measured; default a temporary one on a real disk")
	flags.StringVar(&o.Bin, "bin", "", "프로그램 폴더 / folder of the programs; default this program's own")
	flags.StringVar(&o.Only, "only", "", "일부만 측정 / measure only the families whose name contains this")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q; see kipass-lab bench -h", flags.Arg(0))
	}
	figures, err := bench.Run(ctx, o)
	if len(figures) > 0 {
		err = errors.Join(bench.Write(stdout, figures), err)
	}
	return err
}

func runBareServer(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("kipass-lab bare-server", flag.ContinueOnError)
	flags.SetOutput(stderr)
	dir := flags.String("data", "", "자료 폴더 / folder for its data")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *dir == "" || flags.NArg() > 0 {
		return errors.New("bare-server needs -data DIR and nothing else")
	}
	return bench.ServeBare(ctx, *dir, stdout)
}
