package main

import (
	"context"

	"crypto/x509"

	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kipass/kipass/inquiry"
	"github.com/kipass/kipass/internal/cli"
	"github.com/kipass/kipass/protocol/publickey"
	"github.com/kipass/kipass/protocol/token"
)

// statusPartial is the exit status of a run that wrote an incomplete list.
const statusPartial = 3

// runOptions say which order is carried out, and who is asked.
type runOptions struct {
	data, approved       string
	visits, visitsCA     string
	trustList, trustRoot string
	issuerCAs            []string // NAME=FILE, or FILE for all others
	json                 bool
}

func runCommand() *cobra.Command {
	var opts runOptions
	about := "방문 서버와 발급회사에 묻고 암호화된 접촉자 명단을 만듭니다 / " +
		"ask the visit server and the issuers and write the encrypted contact list"
	cmd := cli.Command("run APPROVED-FILE", about, func(cmd *cobra.Command, args []string) error {
		opts.approved = args[0]
		err := run(cmd.Context(), opts, cmd.OutOrStdout(), cmd.ErrOrStderr())
		if errors.Is(err, inquiry.ErrPartial) {
			return cli.WithStatus(statusPartial, err)
		}
		return err
	})
	cmd.Long = "발급회사 하나라도 답하지 않거나 게이트가 그 기간의 기록을 모두 전달하지 않았으면 명단에 불완전하다고 표시되고 종료 상태는 3입니다. " +
		"명령이 유효한 동안 다시 실행하면 모두에게 새로 묻습니다. / " +
		"If an issuer fails, or a gate has not delivered everything of the window, the list is marked incomplete and the exit " +
		"status is 3. Run again while the order is valid, it asks everybody anew."
	dataFlag(cmd, &opts.data)
	flags := cli.FlagsOf(cmd)
	flags.String(&opts.visits, "visits", cli.URL, "방문 서버 주소 / URL of the visit server")
	flags.String(&opts.visitsCA, "visits-ca", cli.File,
		"방문 서버 인증서의 인증 기관, PEM / "+
			"authority of the visit server's certificate, PEM")
	flags.String(&opts.trustList, "trust-list", cli.File,
		"발급회사 주소가 있는 서명된 신뢰 목록 / "+
			"signed trust list, which says where issuers answer")
	flags.String(&opts.trustRoot, "trust-root", cli.Key,
		"운영자의 루트 공개 키, base64 44자 / "+
			"the scheme operator's public root key, 44 characters of base64")
	flags.Strings(&opts.issuerCAs, "issuer-ca", cli.NamedFile,
		"발급회사 인증서의 인증 기관, PEM, 이름이 없으면 나머지 모두, 여러 번 가능, 기본값은 없음이며 인증 기관이 없는 발급회사에는 묻지 않습니다 / "+
			"authority of an issuer's certificate, PEM; without a name for every issuer that has none of its own; may be repeated; "+
			"default none: an issuer without one is not asked")
	flags.Bool(&opts.json, "json", "숫자만 담은 요약을 JSON 한 줄로 출력 / print a summary as one line of JSON, in counts only")
	flags.Require("visits", "visits-ca", "trust-list", "trust-root")
	return cmd
}

func run(ctx context.Context, opts runOptions, stdout, stderr io.Writer) error {
	roots := map[string]*x509.CertPool{}
	for _, given := range opts.issuerCAs {
		name, path, named := strings.Cut(given, "=")
		if !named {
			name, path = "", given
		}
		if err := addRoots(roots, name, path); err != nil {
			return err
		}
	}
	if err := addRoots(roots, "visit server", opts.visitsCA); err != nil {
		return err
	}
	list, err := readTrust(opts.trustList, opts.trustRoot)
	if err != nil {
		return err
	}
	if time.Now().After(list.Expires) {
		fmt.Fprintf(stderr, "경고: 신뢰 목록이 %s에 만료되어 발급회사 주소가 틀릴 수 있습니다\n"+
			"warning: the trust list expired at %[1]s; addresses of issuers may be out of date\n",
			list.Expires.Format(time.RFC3339))
	}
	approved, err := os.ReadFile(opts.approved)
	if err != nil {
		return fmt.Errorf("reading the approved order: %w", err)
	}
	config := inquiry.Config{
		Visits: inquiry.Endpoint{URL: opts.visits, Roots: roots["visit server"]},
		Issuers: inquiry.IssuersOf(list, func(name string) *x509.CertPool {
			if roots[name] == nil {
				name = ""
			}
			return roots[name]
		}),
		Progress: func(line string) { fmt.Fprintln(stderr, line) },
	}
	return withAuthority(opts.data, func(a *inquiry.Authority) error {
		s, err := a.Run(ctx, approved, config)
		if err != nil && !errors.Is(err, inquiry.ErrPartial) {
			return err
		}
		fmt.Fprintf(stderr, "접촉자 %d명, 스캔 %d건, 열지 못한 코드 %d개, 명단 %s\n"+
			"%[1]d contacts from %[2]d scans; %[3]d codes not opened; contact list in %[4]s\n",
			s.Contacts, s.Scans, s.Unopened, s.List)
		for _, f := range s.Shortfalls {
			fmt.Fprintln(stderr, "불완전 / INCOMPLETE: "+f.Words())
		}
		if opts.json {
			if err := json.NewEncoder(stdout).Encode(s); err != nil {
				return fmt.Errorf("writing the summary: %w", err)
			}
		}
		return err
	})
}

func addRoots(roots map[string]*x509.CertPool, name, path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("reading a certificate authority: %w", err)
	}
	if roots[name] == nil {
		roots[name] = x509.NewCertPool()
	}
	if !roots[name].AppendCertsFromPEM(text) {
		return fmt.Errorf("reading %s: no certificate in PEM", path)
	}
	return nil
}

func readTrust(path, root string) (token.TrustList, error) {
	pub, err := publickey.Parse(root)
	if err != nil {
		return token.TrustList{}, cli.WrongKey("trust-root", err)
	}
	return token.ReadTrustList(pub, path)
}
