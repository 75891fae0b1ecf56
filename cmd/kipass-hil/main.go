// Command hil runs the drivers and the journal on a real kernel in virtual machines; make hil calls it.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/kipass/kipass/lab/hil"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:]))
}

func run(ctx context.Context, args []string) int {
	flags := flag.NewFlagSet("hil", flag.ContinueOnError)
	o := hil.Options{Out: os.Stderr}
	var only string
	flags.StringVar(&o.Folder, "folder", "lab/hil", "소스 폴더 / folder of the sources")
	flags.StringVar(&o.Kernel, "kernel", "", "커널 경로; 기본값은 build-kernel 의 결과 / the kernel; default is what build-kernel has kept")
	flags.StringVar(&only, "only", "", "쉼표로 구분한 시나리오 / scenarios, with commas: "+strings.Join(hil.Scenarios(), ","))
	flags.IntVar(&o.Cycles, "cycles", 200, "전원 차단 횟수 / power cuts under the journal")
	flags.IntVar(&o.Replugs, "replugs", 100, "리더 재연결 횟수 / replugs of each reader while scanning")
	flags.Uint64Var(&o.Seed, "seed", 0, "같은 순서를 되풀이 / repeat a run's power cuts; 0 takes others each time")
	flags.StringVar(&o.Logs, "logs", "", "실패 기록 폴더 / folder for the logs of what failed")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return 0
		}
		return 2
	}
	if only != "" {
		o.Only = strings.Split(only, ",")
	}
	if o.Kernel == "" {
		var err error
		if o.Kernel, err = hil.CachedKernel(ctx, o.Folder); err != nil {
			fmt.Fprintln(os.Stderr, "hil:", err)
			return 1
		}
	}
	summary, err := hil.Run(ctx, o)
	if e := json.NewEncoder(os.Stdout).Encode(summary); e != nil {
		err = errors.Join(err, e)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "hil:", err)
		return 1
	}
	return 0
}
