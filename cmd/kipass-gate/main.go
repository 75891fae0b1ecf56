// Command kipass-gate is the daemon of a gate: it reads entry codes, checks them on the device, journals the visits,
// shows and says the outcome, and syncs with the visit server when there is a network.
package main

import (
	"os"

	"github.com/spf13/cobra"

	"github.com/kipass/kipass/configs"
	"github.com/kipass/kipass/internal/cli"
)

// version is set by the build.
var version = "unknown"

func main() { os.Exit(cli.Main(newProgram())) }

func newProgram() *cobra.Command {
	return cli.Program("kipass-gate", version,
		"전자출입명부 게이트 / gate of the electronic entry register", runCommand(), checkCommand())
}

// configFlag defines the flag of the gate's config.
func configFlag(cmd *cobra.Command) *string {
	path := "/etc/kipass/gate.toml"
	cli.FlagsOf(cmd).Config(&path)
	return &path
}

// loadConfig reads the config. A bad one is as wrong as a bad command line: starting again cannot help.
func loadConfig(path string) (configs.Gate, error) {
	config, err := configs.Load(path)
	if err != nil {
		return configs.Gate{}, cli.WithStatus(cli.StatusUsage, err)
	}
	return config, nil
}

func runCommand() *cobra.Command {
	cmd := cli.Command("run", "게이트를 시작합니다 / run the gate", nil)
	path := configFlag(cmd)
	newLogger := cli.FlagsOf(cmd).LogLevel()
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		config, err := loadConfig(*path)
		if err != nil {
			return err
		}
		log := newLogger(cmd.ErrOrStderr())
		if err := begin(*path, config, log); err != nil {
			return err
		}
		return Run(cmd.Context(), config, cmd.OutOrStdout(), log)
	}
	return cmd
}
