package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/kipass/kipass/internal/cli"
	"github.com/kipass/kipass/issuer"
)

func initCommand() *cobra.Command {
	data, secrets := "", ""
	var about issuer.About
	short := "자료 폴더를 만듭니다: 키와 TLS 인증 기관 / make the data folder: keys and TLS authority"
	cmd := cli.Command("init", short, func(cmd *cobra.Command, _ []string) error {
		if len(about.Hosts) == 0 {
			about.Hosts = []string{"127.0.0.1", "localhost"}
		}
		if err := issuer.Init(data, secrets, about, time.Now()); err != nil {
			return err
		}
		_, err := fmt.Fprintf(cmd.ErrOrStderr(), "발급회사 %s를 %s에 만들었습니다 / made issuer %[1]s in %[2]s\n"+
			"비밀은 %[3]s에 있습니다. 다른 디스크로 옮기고 자료와 따로 백업하세요 / "+
			"its secrets are in %[3]s: move them to another disk, and back them up apart from the data\n",
			about.Name, data, issuer.SecretDir(data, secrets))
		return err
	})
	dataFlag(cmd, &data)
	secretsFlag(cmd, &secrets)
	flags := cli.FlagsOf(cmd)
	flags.String(&about.Name, "name", cli.Name, "짧은 이름, a-z, 0-9, '-' 1~16자 / short name, 1 to 16 of a-z, 0-9 and '-'")
	flags.String(&about.Display, "display", cli.Text,
		"사람이 보는 이름, 예: 네이버, 기본값은 짧은 이름 / name for people, for example 네이버; default the short name")
	flags.List(&about.Hosts, "host", cli.Host,
		"TLS 인증서의 호스트, 첫째가 주소에 쓰임, 여러 번 가능, 기본값 127.0.0.1과 localhost / "+
			"host in the TLS certificate, the first one stands in the URL; may be repeated; default 127.0.0.1 and localhost")
	flags.Require("name")
	return cmd
}
