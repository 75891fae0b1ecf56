package main

import (
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/kipass/kipass/inquiry"
	"github.com/kipass/kipass/internal/cli"
	"github.com/kipass/kipass/internal/keyfile"
	"github.com/kipass/kipass/protocol/day"
	"github.com/kipass/kipass/protocol/visit"
)

// orderOptions say what is ordered, as it was typed.
type orderOptions struct {
	data, key, output  string
	facility, from, to string
	request            inquiry.Request // but for facility and window
}

func orderCommand() *cobra.Command {
	opts := orderOptions{request: inquiry.Request{Valid: 24 * time.Hour}}
	about := "조사 명령에 서명하고 번호를 출력합니다 / sign an order and print its id"
	cmd := cli.Command("order", about, func(cmd *cobra.Command, _ []string) error { return signOrder(cmd, opts) })
	cmd.Long = `TIME은 2006-01-02T15:04:05+09:00 또는 한국 시각 "2006-01-02 15:04"입니다. / ` +
		`TIME is 2006-01-02T15:04:05+09:00 or "2006-01-02 15:04" in Korean time.`
	cmd.Example = `  kipass-inquiry order --data /srv/authority --officer-key kim.key --officer kim --case 2020-0001 \
    --purpose "접촉자 조사" --facility seoul-cafe-1 --from "2020-07-01 18:00" --to "2020-07-01 22:00" --output order.signed`
	dataFlag(cmd, &opts.data)
	officerKeyFlag(cmd, &opts.key)
	flags := cli.FlagsOf(cmd)
	flags.String(&opts.request.Officer, "officer", cli.Name, "명부에 있는 담당관 이름 / officer's name as in the registers")
	flags.String(&opts.request.Case, "case", cli.Name, "사건 번호 / case number")
	flags.String(&opts.request.Purpose, "purpose", cli.Text, "조사 목적 / what the inquiry is for")
	flags.String(&opts.facility, "facility", cli.Name, "시설 이름 / name of the facility")
	flags.String(&opts.from, "from", cli.Time, "기간의 시작, 그 시각 포함 / start of the window, inclusive")
	flags.String(&opts.to, "to", cli.Time, "기간의 끝, 그 시각 제외 / end of the window, exclusive")
	flags.Duration(&opts.request.Valid, "valid", "명령이 유효한 기간, 168h까지 / how long the order is obeyed, at most 168h")
	flags.Output(&opts.output, "서명한 명령 파일 / file for the signed order")
	flags.Require("officer", "case", "purpose", "facility", "from", "to")
	return cmd
}

func signOrder(cmd *cobra.Command, opts orderOptions) (err error) {
	r := opts.request
	if r.Facility, err = visit.ParseFacility(opts.facility); err != nil {
		return err
	}
	if r.From, err = parseTime("from", opts.from); err != nil {
		return err
	}
	if r.To, err = parseTime("to", opts.to); err != nil {
		return err
	}
	signing, err := keyfile.ReadEd25519(opts.key)
	if err != nil {
		return err
	}
	return withAuthority(opts.data, func(a *inquiry.Authority) error {
		id, signed, err := a.Order(signing, r)
		if err != nil {
			return err
		}
		if err := os.WriteFile(opts.output, signed, 0o600); err != nil {
			return fmt.Errorf("writing the signed order: %w", err)
		}
		_, err = fmt.Fprintln(cmd.OutOrStdout(), id)
		return err
	})
}

// parseTime reads a flag's RFC 3339, or minute in Korean time.
func parseTime(flag, given string) (time.Time, error) {
	if t, err := time.Parse(time.RFC3339, given); err == nil {
		return t, nil
	}
	t, err := time.ParseInLocation("2006-01-02 15:04", given, day.Seoul())
	if err != nil {
		return time.Time{}, cli.Wrong("--%s 값 %q: 2006-01-02T15:04:05+09:00 또는 \"2006-01-02 15:04\"여야 합니다",
			"--%s %q: must be 2006-01-02T15:04:05+09:00 or \"2006-01-02 15:04\"", flag, given)
	}
	return t, nil
}
