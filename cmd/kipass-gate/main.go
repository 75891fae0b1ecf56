// Command kipass-gate is the daemon of a gate: it reads entry codes, checks them on the device, journals the visits,
// shows and says the outcome, and syncs with the visit server when there is a network.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/kipass/kipass/configs"
)

// version is set by the build.
var version = "unknown"

const usage = `kipass-gate – 전자출입명부 게이트 / electronic entry register, gate

사용법 / usage:
  kipass-gate -config gate.toml          게이트를 시작합니다 / run the gate
  kipass-gate -config gate.toml -check   설정만 검사합니다 / check the config and exit

옵션 / options:
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run parses the command line and returns the exit status: 0 done, 1 failed, 2 wrong usage or a bad config.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("kipass-gate", flag.ContinueOnError)
	flags.SetOutput(stderr)
	path := flags.String("config", "/etc/kipass/gate.toml", "설정 파일 / config file")
	check := flags.Bool("check", false, "설정만 검사 / check the config and exit")
	verbose := flags.Bool("verbose", false, "자세한 로그 / log more")
	showVersion := flags.Bool("version", false, "버전 / print the version")
	flags.Usage = func() {
		fmt.Fprint(stderr, usage)
		flags.PrintDefaults()
	}
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return 0
		}
		return 2
	}
	if flags.NArg() > 0 {
		fmt.Fprintf(stderr, "kipass-gate: 알 수 없는 인자 / unexpected argument %q\n", flags.Arg(0))
		return 2
	}
	if *showVersion {
		fmt.Fprintln(stdout, "kipass-gate", version)
		return 0
	}
	config, err := configs.Load(*path)
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 2
	}
	if *check {
		if err := checkConfig(config); err != nil {
			fmt.Fprintln(stderr, err)
			return 2
		}
		fmt.Fprintf(stdout, "%s: ok\n", *path)
		return 0
	}
	level := slog.LevelInfo
	if *verbose {
		level = slog.LevelDebug
	}
	log := slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: level}))
	if err := Run(ctx, config, stdout, log); err != nil {
		fmt.Fprintln(stderr, "kipass-gate:", err)
		return 1
	}
	return 0
}

// checkConfig does everything that a start does with the config, but for opening devices, files of the gate's own and
// the network.
func checkConfig(config configs.Gate) error {
	_, readers := openReaders(config, slog.New(slog.DiscardHandler))
	_, clips := readClips(config)
	return errors.Join(config.CheckFiles(), readers, clips)
}
