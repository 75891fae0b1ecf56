package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kipass/kipass/internal/cli"
	"github.com/kipass/kipass/visitserver"
)

// operatorCommands are those that the running server carries out.
func operatorCommands() []*cobra.Command {
	return []*cobra.Command{
		cli.Group("facility", "시설 / facilities",
			operatorCommand("add FACILITY [NAME]", "시설을 등록합니다 / register a facility")),
		cli.Group("terminal", "시설의 게이트 / gates of facilities",
			operatorCommand("add FACILITY GATE",
				"24시간 유효한 일회용 등록 코드를 출력합니다 / "+
					"print a one-time enrolment code, good for 24 h"),
			operatorCommand("revoke FACILITY GATE", "게이트를 차단합니다 / shut a gate out")),
		cli.Group("alert", "복제되었거나 고장난 것으로 보이는 게이트의 경보 / alerts of gates that look copied or broken",
			operatorCommand("list", "아직 확인되지 않은 경보 / alerts that nobody has acknowledged"),
			operatorCommand("acknowledge FACILITY GATE",
				"게이트를 살펴보았음을 감사 기록에 남기고 경보를 끝냅니다 / "+
					"end a gate's alerts, having looked into them; it is noted in the audit log")),
		cli.Group("officer", "명령을 내릴 수 있는 보건 당국의 담당관 / officers of the health authority whose orders are obeyed",
			operatorCommand("add NAME PUBKEY", "담당관을 넣습니다 / add an officer (kipass-officer:…)"),
			operatorCommand("remove NAME", "담당관을 뺍니다 / remove an officer"),
			operatorCommand("list", "담당관 명부 / the register of officers")),
		operatorCommand("authority-root PUBKEY",
			"답을 받을 키를 인증하는 보건 당국의 루트 공개 키를 정합니다 (kipass-authority:…) / "+
				"set the health authority's public root key, which certifies who gets answers (kipass-authority:…)"),
		operatorCommand("trust-root PUBKEY", "운영자의 루트 공개 키를 한 번 정합니다, 32바이트, hex 또는 base64 / "+
			"set the scheme operator's public root key, once (32 bytes, hex or base64)"),
		trustListCommand(),
		cli.Group("manager", "시설의 인원수를 읽는 관리자 / those who read a facility's counts",
			operatorCommand("add FACILITY NAME", "관리자의 토큰을 출력합니다 / print a token with which the facility's counts are read"),
			operatorCommand("revoke FACILITY NAME", "토큰을 바로 끝냅니다 / end a token at once"),
			operatorCommand("list FACILITY", "관리자 명부 / the managers of a facility")),
		operatorCommand("counts FACILITY DAY",
			"시간과 게이트별 인원수, DAY는 2006-01-02처럼 / "+
				"counts per hour and gate, DAY as 2006-01-02"),
		cli.Group("seal-key", "게이트가 방문을 봉인하는 키 / keys that gates seal visits to",
			operatorCommand("list", "키마다 쓰인 기간, 아직 쓰는 게이트, 파기 / each key's time of use, the gates that still hold it, its destruction"),
			operatorCommand("rotate", "오늘부터 새 키를 씁니다, 저절로는 일주일마다 / "+
				"take a new key into use today; it happens by itself every week")),
		destroyCommand(),
		operatorCommand("ledger", "게이트별로 받은 기록과 저장된 방문 / what was taken from each gate's journal, and visits stored"),
	}
}

// operatorCommand returns a command whose arguments are passed on as they are.
func operatorCommand(use, about string) *cobra.Command {
	return passedOn(use, about, func(args []string) (visitserver.AdminRequest, error) {
		return visitserver.AdminRequest{Args: args}, nil
	})
}

// passedOn returns a command that the running server carries out; request makes of its arguments what the server is
// asked, but for the command's name.
func passedOn(use, about string, request func(args []string) (visitserver.AdminRequest, error)) *cobra.Command {
	var folder visitserver.Folder
	cmd := cli.Command(use, about, func(cmd *cobra.Command, args []string) error {
		req, err := request(args)
		if err != nil {
			return err
		}
		req.Command = strings.TrimPrefix(cmd.CommandPath(), cmd.Root().Name()+" ")
		result, err := folder.Admin(cmd.Context(), req)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s\n", result)
		return err
	})
	cmd.Long = "자료 폴더의 admin.sock을 통해 실행 중인 서버가 수행하고 결과를 JSON 한 줄로 출력합니다. / " +
		"The running server does it, asked through admin.sock in the data folder, and the result is one line of JSON."
	dataFlag(cmd, &folder)
	return cmd
}

func trustListCommand() *cobra.Command {
	about := "더 새로운 서명된 신뢰 목록을 설치합니다 / install a newer signed trust list"
	return passedOn("trust-list LIST-FILE", about, func(args []string) (req visitserver.AdminRequest, err error) {
		if req.File, err = os.ReadFile(args[0]); err != nil {
			return req, fmt.Errorf("reading the trust list: %w", err)
		}
		return req, nil
	})
}

func destroyCommand() *cobra.Command {
	confirm := false
	about := "때가 된 것을 지금 파기합니다, 저절로도 합니다 / destroy now what is due; it happens by itself too"
	cmd := passedOn("destroy", about, func([]string) (req visitserver.AdminRequest, err error) {
		if confirm {
			req.Args = []string{visitserver.ConfirmClock}
		}
		return req, nil
	})
	cli.FlagsOf(cmd).Bool(&confirm, "confirm-clock",
		"지금 시계가 맞으니, 시계가 의심스러워 미룬 파기도 합니다 / "+
			"the clock is right as it stands: destroy also what was held back because clocks differed")
	return cmd
}
