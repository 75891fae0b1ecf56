package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"

	"github.com/spf13/cobra"

	"github.com/kipass/kipass/internal/cli"
	"github.com/kipass/kipass/issuer"
)

// serveOptions say how the issuer is served.
type serveOptions struct {
	data, secrets string
	listen        string
	registration  string
	rate          int // codes a minute for one holder
	confirmClock  bool
}

func serveCommand() *cobra.Command {
	opts := serveOptions{listen: "127.0.0.1:8444", registration: issuer.RegisterByToken, rate: 20}
	about := "서비스를 시작합니다 / serve visitors and the health authority"
	cmd := cli.Command("serve", about, nil)
	cmd.Long = "요청을 받을 수 있게 되면 \"ready URL\" 한 줄을 출력합니다. / " +
		"It prints one line \"ready URL\" on standard output when requests are taken."
	dataFlag(cmd, &opts.data)
	secretsFlag(cmd, &opts.secrets)
	flags := cli.FlagsOf(cmd)
	flags.Listen(&opts.listen)
	flags.Choice(&opts.registration, "registration", []string{issuer.RegisterByToken, issuer.RegisterOpen},
		"방문자를 등록하는 방법, token은 토큰을 가진 쪽(token add)이 전화번호를 보증, open은 확인 없이 시험용 / "+
			"how holders are registered: token (whoever has a token, see token add, vouches for the phone) or open (unchecked, for trials)")
	flags.Bool(&opts.confirmClock, "confirm-clock",
		"지금 시계가 맞으니, 시계가 너무 앞서서 미룬 파기를 합니다, 이번 시작에만 / "+
			"the clock is right as it stands: destroy the days held back because it jumped ahead; for this start only")
	flags.Int(&opts.rate, "rate", "한 사람의 분당 코드 수, 0은 제한 없음 / codes a minute for one holder; 0 sets no limit")
	newLogger := flags.LogLevel()
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if opts.rate < 0 {
			return cli.Wrong("--rate는 음수일 수 없습니다", "--rate must not be negative")
		}
		return serve(cmd.Context(), opts, newLogger(cmd.ErrOrStderr()), cmd.OutOrStdout())
	}
	return cmd
}

// serve runs the issuer of a folder on a TCP address, and writes "ready URL" to stdout when it takes requests.
func serve(ctx context.Context, opts serveOptions, logger *slog.Logger, stdout io.Writer) error {
	listener, err := net.Listen("tcp", opts.listen)
	if err != nil {
		return fmt.Errorf("listening on %s: %w", opts.listen, err)
	}
	return issuer.Run(ctx, issuer.Config{
		Dir: opts.data, SecretDir: opts.secrets, Listener: listener, Registration: opts.registration,
		CodesPerMinute: opts.rate, ConfirmClock: opts.confirmClock,
		Ready:  func(url string) { fmt.Fprintln(stdout, "ready", url) },
		Logger: logger,
	})
}
