package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kipass/kipass/internal/cli"
	"github.com/kipass/kipass/visitserver"
)

func initCommand() *cobra.Command {
	var folder visitserver.Folder
	var hosts []string
	about := "새 서버를 만듭니다: 키, 인증 기관, 감사 기록의 키 / " +
		"make a new server: its keys, its certificate authorities, its audit log's key"
	cmd := cli.Command("init", about, func(cmd *cobra.Command, _ []string) error {
		if len(hosts) == 0 {
			hosts = ownHosts()
		}
		if err := folder.Init(hosts, time.Now()); err != nil {
			return err
		}
		_, err := fmt.Fprintf(cmd.OutOrStdout(), "방문 서버를 %s에 만들었습니다 / made a visit server in %[1]s for %[2]s\n"+
			"비밀은 %[3]s에 있습니다. 다른 디스크로 옮기고 자료와 따로 백업하세요 / "+
			"its secrets are in %[3]s: move them to another disk, and back them up apart from the data\n",
			folder.Dir, strings.Join(hosts, ", "), folder.SecretDir())
		return err
	})
	dataFlag(cmd, &folder)
	secretsFlag(cmd, &folder)
	cli.FlagsOf(cmd).Strings(&hosts, "host", cli.Host,
		"TLS 인증서의 호스트, 여러 번 가능, 기본값은 이 컴퓨터의 이름과 localhost / "+
			"host in the TLS certificate, may be repeated; default this machine's name and localhost")
	return cmd
}

// ownHosts are the names under which this machine reaches its own server.
func ownHosts() []string {
	hosts := []string{"localhost", "127.0.0.1", "::1"}
	if name, err := os.Hostname(); err == nil && !slices.Contains(hosts, name) {
		hosts = append(hosts, name)
	}
	return hosts
}
