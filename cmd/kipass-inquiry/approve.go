package main

import (
	"bufio"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kipass/kipass/inquiry"
	"github.com/kipass/kipass/internal/cli"
	"github.com/kipass/kipass/internal/keyfile"
	"github.com/kipass/kipass/protocol/day"
	"github.com/kipass/kipass/protocol/order"
)

// approveOptions say which order is approved, with whose key.
type approveOptions struct {
	data, key, output, signed string
	yes                       bool
}

func approveCommand() *cobra.Command {
	var opts approveOptions
	about := "서명된 명령을 보여주고 다른 담당관의 키로 승인합니다 / show a signed order and approve it with another officer's key"
	cmd := cli.Command("approve SIGNED-FILE", about, func(cmd *cobra.Command, args []string) error {
		opts.signed = args[0]
		return approve(cmd, opts)
	})
	dataFlag(cmd, &opts.data)
	officerKeyFlag(cmd, &opts.key)
	flags := cli.FlagsOf(cmd)
	flags.Bool(&opts.yes, "yes", "묻지 않고 승인 / approve without asking")
	flags.Output(&opts.output, "승인한 명령 파일 / file for the approved order")
	return cmd
}

func approve(cmd *cobra.Command, opts approveOptions) error {
	signing, err := keyfile.ReadEd25519(opts.key)
	if err != nil {
		return err
	}
	signed, err := os.ReadFile(opts.signed)
	if err != nil {
		return fmt.Errorf("reading the signed order: %w", err)
	}
	return withAuthority(opts.data, func(a *inquiry.Authority) error {
		o, err := a.Read(signed)
		if err != nil {
			return err
		}
		showOrder(cmd.ErrOrStderr(), o)
		if !opts.yes {
			if err := confirm(cmd.InOrStdin(), cmd.ErrOrStderr()); err != nil {
				return err
			}
		}
		approved, err := a.Approve(signing, signed)
		if err != nil {
			return err
		}
		if err := os.WriteFile(opts.output, approved, 0o600); err != nil {
			return fmt.Errorf("writing the approved order: %w", err)
		}
		return nil
	})
}

// showOrder says in plain words all that the officer would approve: every field of the order, who gets the answers and who
// vouches for that.
func showOrder(w io.Writer, o order.Order) {
	at := func(t time.Time) string { return t.In(day.Seoul()).Format("2006-01-02 15:04:05 MST") }
	for _, line := range [][2]string{
		{"명령 번호 / order", o.ID.String()},
		{"사건 번호 / case", o.Case},
		{"명령한 담당관 / ordered by", o.Officer},
		{"목적 / purpose", o.Purpose},
		{"시설 / facility", string(o.Facility)},
		{"조사 기간 / window", fmt.Sprintf("%s – %s (%v)", at(o.From), at(o.To), o.To.Sub(o.From))},
		{"명령한 시각 / issued", at(o.IssuedAt)},
		{"만료 / expires", at(o.Expires)},
		{"답을 받을 키 / answers go to the key", o.Recipient.Recipient},
		{"그 키의 지문 / its fingerprint", o.Recipient.Fingerprint()},
		{"그 키를 인증한 기관 / certified by", fmt.Sprintf("%s (root %v)", o.Recipient.Authority, o.Recipient.Root)},
		{"인증 기간 / certified from", at(o.Recipient.NotBefore) + " – " + at(o.Recipient.NotAfter)},
		{"감사 기록 번호 / entry of the authority's log", fmt.Sprint(o.Recipient.Entry)},
		{"명령의 해시 / digest of the order", hex.EncodeToString(o.Digest[:])},
	} {
		fmt.Fprintf(w, "%s: %s\n", line[0], line[1])
	}
	fmt.Fprintf(w, "승인하면 방문 서버는 이 기간에 %s에서 찍힌 모든 방문을, 발급회사는 그 사람들의 이름과 전화번호를 위 키로 암호화하여 내줍니다.\n"+
		"If you approve, the visit server gives out every visit at %[1]s in this window, and the issuers the names and phone numbers "+
		"of those people, encrypted to the key above.\n", o.Facility)
}

func confirm(in io.Reader, out io.Writer) error {
	fmt.Fprint(out, "승인하려면 yes를 입력하십시오 / type yes to approve: ")
	line, err := bufio.NewReader(in).ReadString('\n')
	if err != nil && err != io.EOF {
		return fmt.Errorf("reading the answer: %w", err)
	}
	if strings.TrimSpace(line) != "yes" {
		return errors.New("not approved")
	}
	return nil
}
