package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kipass/kipass/internal/cli"
	"github.com/kipass/kipass/protocol/auditlog"
)

// maxLog is the longest published log in bytes that is fetched.
const maxLog = 1 << 30

// auditOptions say which log is checked, and against what.
type auditOptions struct {
	key, dir, url, ca, save string
	since                   []string
	list                    bool
}

func auditCommand() *cobra.Command {
	var opts auditOptions
	about := "누구의 것이든 감사 기록을 확인합니다 / check anybody's audit log"
	cmd := cli.Command("audit", about, func(cmd *cobra.Command, _ []string) error { return checkLog(cmd, opts) })
	flags := cli.FlagsOf(cmd)
	flags.String(&opts.key, "audit-key", cli.Key,
		"기록을 확인하는 공개 키 \"이름+해시+키\" 또는 그 파일 / "+
			"the log's public key, \"origin+hash+key\", or a file that holds it")
	flags.String(&opts.dir, "audit-log", cli.Dir, "기록의 폴더, 기본값 없음 / folder of the log; default none")
	flags.String(&opts.url, "url", cli.URL,
		"기록을 공개하는 기관의 주소, 기본값 없음 / "+
			"URL of a party that publishes its log; default none")
	flags.String(&opts.ca, "ca", cli.File,
		"그 기관 인증서의 인증 기관, PEM, --url에 필요하며 기본값 없음 / "+
			"authority of that party's certificate, PEM; needed with --url, no default")
	flags.Strings(&opts.since, "since", cli.File,
		"전에 보관한 체크포인트, 그 뒤로 늘어나기만 했어야 함, 여러 번 가능, 기본값 없음 / "+
			"checkpoint kept earlier: the log must only have grown since; may be repeated; default none")
	flags.Bool(&opts.list, "list", "항목을 한 줄에 JSON 하나씩 출력 / print the entries, one JSON object a line")
	flags.String(&opts.save, "save", cli.File,
		"다음 --since를 위해 체크포인트를 보관할 파일, 기본값은 보관하지 않음 / "+
			"file to keep the checkpoint in, for --since next time; default none")
	flags.Require("audit-key")
	return cmd
}

func checkLog(cmd *cobra.Command, opts auditOptions) error {
	older, err := cli.ReadFiles(opts.since)
	if err != nil {
		return err
	}
	entries, checkpoint, err := fetchLog(cmd.Context(), opts.dir, opts.url, opts.ca)
	if err != nil {
		return err
	}
	r, err := auditlog.Check(entries, checkpoint, cli.ValueOrFile(opts.key), older...)
	if err != nil {
		return err
	}
	if opts.list {
		enc := json.NewEncoder(cmd.OutOrStdout())
		for _, e := range r.Entries {
			if err := enc.Encode(e); err != nil {
				return fmt.Errorf("writing the entries: %w", err)
			}
		}
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "항목 %d개, 이전 체크포인트 %d개와 일치합니다\n"+
		"%[1]d entries hold and continue %[2]d older checkpoints\n", r.Size, len(older))
	if r.Unsigned > 0 {
		fmt.Fprintf(cmd.ErrOrStderr(), "참고: 서명된 마지막 항목 뒤에 %d바이트가 있습니다. 추가 중이거나 중단되었습니다\n"+
			"note: %[1]d bytes after the last signed entry: an append under way or interrupted\n", r.Unsigned)
	}
	if opts.save != "" {
		if err := os.WriteFile(opts.save, checkpoint, 0o644); err != nil {
			return fmt.Errorf("keeping the checkpoint: %w", err)
		}
	}
	return nil
}

// fetchLog reads the checkpoint before the entries, which may grow meanwhile.
func fetchLog(ctx context.Context, dir, url, ca string) (entries, checkpoint []byte, err error) {
	read := func(name string) ([]byte, error) { return os.ReadFile(filepath.Join(dir, name)) }
	switch {
	case (dir == "") == (url == ""):
		return nil, nil, cli.Wrong("--audit-log와 --url 가운데 하나를 주십시오", "give either --audit-log or --url")
	case url != "":
		roots := map[string]*x509.CertPool{}
		if err := addRoots(roots, "", ca); err != nil {
			return nil, nil, err
		}
		ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
		defer cancel()
		client := &http.Client{Transport: &http.Transport{
			TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: roots[""]}, DisableKeepAlives: true,
		}}
		paths := map[string]string{auditlog.CheckpointFile: "/v1/log/checkpoint", auditlog.EntriesFile: "/v1/log/entries"}
		read = func(name string) ([]byte, error) {
			return get(ctx, client, strings.TrimSuffix(url, "/")+paths[name])
		}
	}
	if checkpoint, err = read(auditlog.CheckpointFile); err != nil {
		return nil, nil, fmt.Errorf("reading the checkpoint: %w", err)
	}
	if entries, err = read(auditlog.EntriesFile); err != nil {
		return nil, nil, fmt.Errorf("reading the entries: %w", err)
	}
	return entries, checkpoint, nil
}

func get(ctx context.Context, client *http.Client, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answers %s", url, resp.Status)
	}
	return io.ReadAll(io.LimitReader(resp.Body, maxLog))
}
