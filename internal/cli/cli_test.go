package cli_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/kipass/kipass/internal/cli"
	"github.com/kipass/kipass/internal/cli/clitest"
)

type options struct {
	data, listen, config, format string
	hosts, files                 []string
	rate                         int
	seed                         uint64
	valid                        time.Duration
	list                         bool
}

// newProgram returns a program with every kind of flag, whose serve prints what it was given.
func newProgram() *cobra.Command {
	opts := options{listen: ":8443", config: "/etc/kipass/x.toml", format: "csv", rate: 20, valid: 24 * time.Hour}
	serve := cli.Command("serve FACILITY [NAME]", "시작합니다 / serve visitors", nil)
	serve.Long = "계속 실행됩니다. / It runs until it is told to end."
	serve.Example = "  kipass-x serve --data /srv/x cafe"
	flags := cli.FlagsOf(serve)
	flags.Data(&opts.data, "자료 폴더 / data folder")
	flags.Listen(&opts.listen)
	flags.Config(&opts.config)
	flags.Choice(&opts.format, "format", []string{"csv", "json"}, "형식 / form of the list")
	flags.List(&opts.hosts, "host", cli.Host, "호스트, 여러 번 가능, 기본값 없음 / host, may be repeated; default none")
	flags.Strings(&opts.files, "since", cli.File, "파일, 여러 번 가능, 기본값 없음 / file, may be repeated; default none")
	flags.Int(&opts.rate, "rate", "분당 코드 수 / codes a minute")
	flags.Uint64(&opts.seed, "seed", "순서, 0은 무작위 / order; 0 takes any")
	flags.Duration(&opts.valid, "valid", "유효 기간 / how long it is good")
	flags.Bool(&opts.list, "list", "목록 / print the list")
	newLogger := flags.LogLevel()
	serve.RunE = func(cmd *cobra.Command, args []string) error {
		log := newLogger(cmd.ErrOrStderr())
		log.Info("told")
		log.Debug("told in detail")
		_, err := fmt.Fprintf(cmd.OutOrStdout(), "%q %+v\n", args, opts)
		return err
	}
	fail := cli.Command("fail", "실패합니다 / fail", func(*cobra.Command, []string) error {
		return errors.New("the disk is full")
	})
	partial := cli.Command("partial", "일부만 합니다 / do a part", func(cmd *cobra.Command, _ []string) error {
		return fmt.Errorf("asking: %w", cli.WithStatus(3, errors.New("one is missing")))
	})
	wrong := cli.Command("wrong FILE...", "거절합니다 / refuse", func(*cobra.Command, []string) error {
		return fmt.Errorf("checking: %w", cli.Wrong("안 됩니다: %d", "not so: %d", 7))
	})
	wait := cli.Command("wait", "기다립니다 / wait", func(cmd *cobra.Command, _ []string) error {
		<-cmd.Context().Done()
		return nil
	})
	add := cli.Command("add", "추가합니다 / add one", func(*cobra.Command, []string) error { return nil })
	return cli.Program("kipass-x", "v1.2", "시험 프로그램 / program of a test", serve, fail, partial, wrong, wait,
		cli.Group("officer", "담당관 / officers", add))
}

func TestConforms(t *testing.T) { clitest.Conforms(t, newProgram) }

func TestStatusAndStreams(t *testing.T) {
	for rule, c := range map[string]struct {
		args   []string
		status int
		out    string   // all of the output
		err    []string // what the errors hold; none means no errors
	}{
		"a failure is 1 and told once":    {[]string{"fail"}, 1, "", []string{"kipass-x fail: 실패 / failed: the disk is full\n"}},
		"a status of its own":             {[]string{"partial"}, 3, "", []string{"kipass-x partial: 실패 / failed: asking: one is missing\n"}},
		"a command's own refusal is 2":    {[]string{"wrong", "x", "y"}, 2, "", []string{"kipass-x wrong: 안 됩니다: 7\n", "kipass-x wrong: not so: 7\n"}},
		"no command":                      {nil, 2, "", []string{"a command is needed: completion, fail, man, officer,"}},
		"no command of a group":           {[]string{"officer"}, 2, "", []string{"kipass-x officer: a command is needed: add\n"}},
		"an unknown command with flags":   {[]string{"officer", "ad", "--data", "x"}, 2, "", []string{`unknown command: "ad"; did you mean add?`}},
		"an argument missing":             {[]string{"serve", "--data", "x"}, 2, "", []string{"인자가 없습니다: FACILITY", "argument missing: FACILITY"}},
		"an argument too many":            {[]string{"serve", "--data", "x", "a", "b", "c"}, 2, "", []string{`unexpected argument: "c"`}},
		"one of many arguments missing":   {[]string{"wrong"}, 2, "", []string{"argument missing: FILE"}},
		"an empty required flag":          {[]string{"serve", "--data", "", "a"}, 2, "", []string{"required flags missing: --data DIR"}},
		"a flag without its value":        {[]string{"serve", "a", "--data"}, 2, "", []string{"flag needs a value: --data DIR"}},
		"a flag as in earlier versions":   {[]string{"serve", "-listen", ":1"}, 2, "", []string{"unknown flag: -listen; did you mean --listen?"}},
		"a choice that is none":           {[]string{"serve", "--format", "xml"}, 2, "", []string{`--format 값 "xml": csv, json 가운데`, `--format "xml": must be one of csv, json`}},
		"a number that is none":           {[]string{"serve", "--rate", "ten"}, 2, "", []string{`--rate "ten": must be a whole number`}},
		"a negative number":               {[]string{"serve", "--seed", "-1"}, 2, "", []string{`--seed "-1": must be a whole number, 0 or more`}},
		"a duration without a unit":       {[]string{"serve", "--valid", "90"}, 2, "", []string{`--valid "90": must have a unit, such as 90s`}},
		"an empty host":                   {[]string{"serve", "--host", "a,"}, 2, "", []string{`--host "a,": must not be empty`}},
		"a switch with a value":           {[]string{"serve", "--list=perhaps"}, 2, "", []string{`--list cannot be: "perhaps"`}},
		"a flag that begins wrongly":      {[]string{"serve", "---list"}, 2, "", []string{"wrong flag: "}},
		"the help of what is not there":   {[]string{"help", "srve"}, 2, "", []string{`unknown command: "srve"; did you mean serve?`}},
		"the version":                     {[]string{"--version"}, 0, "kipass-x v1.2\n", nil},
		"values stand before and behind":  {[]string{"serve", "--log-level", "warn", "cafe", "--data=d", "카페", "--host", "a,b", "--host", "c", "--since", "d,e", "--since", "f", "--rate", "-3", "--seed", "7", "--valid", "90s", "--list", "--format", "json", "--listen", ":1", "--config", "c"}, 0, `["cafe" "카페"] {data:d listen::1 config:c format:json hosts:[a b c] files:[d,e f] rate:-3 seed:7 valid:90000000000 list:true}` + "\n", nil},
		"without flags defaults hold":     {[]string{"serve", "--data", "d", "cafe", "--log-level", "error"}, 0, `["cafe"] {data:d listen::8443 config:/etc/kipass/x.toml format:csv hosts:[] files:[] rate:20 seed:0 valid:86400000000000 list:false}` + "\n", nil},
		"a flag may precede its command":  {[]string{"--data", "d", "serve", "cafe", "--log-level", "error", "--rate", "1"}, 0, `["cafe"] {data:d listen::8443 config:/etc/kipass/x.toml format:csv hosts:[] files:[] rate:1 seed:0 valid:86400000000000 list:false}` + "\n", nil},
		"what follows -- is no flag":      {[]string{"serve", "--data", "d", "--log-level", "error", "--", "--list"}, 0, `["--list"] {data:d listen::8443 config:/etc/kipass/x.toml format:csv hosts:[] files:[] rate:20 seed:0 valid:86400000000000 list:false}` + "\n", nil},
		"an unknown flag of a group only": {[]string{"officer", "--data"}, 2, "", []string{"kipass-x officer: unknown flag: --data"}},
	} {
		t.Run(rule, func(t *testing.T) {
			r := clitest.Run(t, newProgram(), c.args...)
			if r.Status != c.status || r.Out != c.out || len(c.err) == 0 && r.Err != "" {
				t.Errorf("status %d, output %q, errors %q", r.Status, r.Out, r.Err)
			}
			for _, want := range c.err {
				if strings.Count(r.Err, want) != 1 {
					t.Errorf("errors %q, want %q once", r.Err, want)
				}
			}
		})
	}
}

func TestHelp(t *testing.T) {
	want := `시작합니다
serve visitors

계속 실행됩니다.
It runs until it is told to end.

사용법 / usage:
  kipass-x serve [FLAGS] FACILITY [NAME]

옵션 / flags:
      --config FILE           설정 파일 (기본값 /etc/kipass/x.toml)
                              config file (default /etc/kipass/x.toml)
      --data DIR              자료 폴더 (필수)
                              data folder (required)
      --format csv|json       형식 (기본값 csv)
                              form of the list (default csv)
      --host HOST             호스트, 여러 번 가능, 기본값 없음
                              host, may be repeated; default none
      --list                  목록
                              print the list
      --listen ADDRESS        요청을 받을 주소, 포트 0은 빈 포트 (기본값 :8443)
                              address to listen on; port 0 takes a free one (default :8443)
      --log-level debug|info|warn|error
                              기록할 가장 낮은 수준 (기본값 info)
                              lowest level that is logged (default info)
      --rate N                분당 코드 수 (기본값 20)
                              codes a minute (default 20)
      --seed N                순서, 0은 무작위 (기본값 0)
                              order; 0 takes any (default 0)
      --since FILE            파일, 여러 번 가능, 기본값 없음
                              file, may be repeated; default none
      --valid DURATION        유효 기간 (기본값 24h)
                              how long it is good (default 24h)
  -h, --help                  도움말을 보여줍니다
                              print this help

DURATION: 90s, 15m, 24h처럼 단위와 함께 써야 합니다
DURATION: must have a unit, such as 90s, 15m or 24h

예 / examples:
  kipass-x serve --data /srv/x cafe
`
	for _, args := range [][]string{{"serve", "--help"}, {"serve", "-h"}, {"help", "serve"}} {
		if r := clitest.Run(t, newProgram(), args...); r.Out != want || r.Status != 0 || r.Err != "" {
			t.Errorf("%q: status %d, errors %q, output\n%s", args, r.Status, r.Err, r.Out)
		}
	}
	r := clitest.Run(t, newProgram(), "help")
	for _, want := range []string{"시험 프로그램\nprogram of a test\n", "  serve                       시작합니다\n", "      --version ", "\n  2  "} {
		if !strings.Contains(r.Out, want) {
			t.Errorf("help without %q:\n%s", want, r.Out)
		}
	}
}

func TestLogLevel(t *testing.T) {
	for level, want := range map[string]int{"debug": 2, "info": 1, "warn": 0} {
		r := clitest.Run(t, newProgram(), "serve", "--data", "d", "cafe", "--log-level", level)
		if got := strings.Count(r.Err, "msg=told") + strings.Count(r.Err, `msg="told`); got != want {
			t.Errorf("--log-level %s: %d lines, want %d: %q", level, got, want, r.Err)
		}
	}
}

// What a shell is told when somebody presses Tab. The last line is cobra's directive: 0 files, 4 nothing else, 8 files of
// an extension, 16 folders.
func TestCompletion(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"ser"}, "serve\t시작합니다 / serve visitors\n:4\n"},
		{[]string{"serve", "--config", ""}, "toml\n:8\n"},
		{[]string{"serve", "--data", ""}, ":16\n"},
		{[]string{"serve", "--format", ""}, "csv\njson\n:4\n"},
		{[]string{"serve", "--log-level", ""}, "debug\ninfo\nwarn\nerror\n:4\n"},
		{[]string{"serve", "--rate", ""}, ":4\n"},
		{[]string{"serve", ""}, ":4\n"},
		{[]string{"wrong", ""}, ":0\n"},
		{[]string{"wrong", "a", ""}, ":0\n"},
		{[]string{"fail", ""}, ":4\n"},
		{[]string{"completion", ""}, "bash\tbash 자동 완성 / completion for bash\nzsh\tzsh 자동 완성 / completion for zsh\n:4\n"},
	} {
		r := clitest.Run(t, newProgram(), append([]string{cobra.ShellCompRequestCmd}, c.args...)...)
		if r.Out != c.want {
			t.Errorf("%q completes to %q, want %q", c.args, r.Out, c.want)
		}
	}
}

// A context that ends ends the command, and nothing is wrong with that.
func TestContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if status := cli.Run(ctx, newProgram(), []string{"wait"}, cli.Streams{Out: os.Stdout, Err: os.Stderr}); status != 0 {
		t.Errorf("status %d", status)
	}
}

func TestValueOrFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(file, []byte("origin+1+x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, given := range []string{file, "origin+1+x"} {
		if got := cli.ValueOrFile(given); got != "origin+1+x" {
			t.Errorf("ValueOrFile(%q) = %q", given, got)
		}
	}
}

func TestReadFiles(t *testing.T) {
	dir := t.TempDir()
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b,c")
	for _, path := range []string{a, b} {
		if err := os.WriteFile(path, []byte(path), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	all, err := cli.ReadFiles([]string{b, a})
	if err != nil || len(all) != 2 || string(all[0]) != b || string(all[1]) != a {
		t.Errorf("read %q, %v", all, err)
	}
	if all, err := cli.ReadFiles([]string{a, filepath.Join(dir, "none")}); err == nil || all != nil {
		t.Errorf("a file that is not there was read: %q", all)
	}
}
