package main

import (
	"errors"
	"fmt"
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/kipass/kipass/configs"
	"github.com/kipass/kipass/firmware/replay"
	"github.com/kipass/kipass/internal/cli"
)

func checkCommand() *cobra.Command {
	cmd := cli.Command("check", "설정을 검사합니다 / check the config", nil)
	cmd.Long = "설정이 가리키는 파일도 확인하지만 장치와 통신은 쓰지 않고 아무것도 만들지 않습니다. / " +
		"It looks at the files the config names too, opens no device and no connection, and makes nothing."
	path := configFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		config, err := loadConfig(*path)
		if err != nil {
			return err
		}
		if err := errors.Join(checkSecrecy(*path, config), checkConfig(config)); err != nil {
			return cli.WithStatus(cli.StatusUsage, err)
		}
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: ok\n", *path)
		return err
	}
	return cmd
}

// checkConfig does everything that a start does with the config, but for opening devices, files of the gate's own and
// the network.
func checkConfig(config configs.Gate) error {
	_, readers := openReaders(config, slog.New(slog.DiscardHandler))
	_, clips := readClips(config)
	var runtime error
	if config.Place.Runtime != "" {
		if err := replay.Volatile(config.Place.Runtime); err != nil {
			runtime = fmt.Errorf("gate.runtime: %w", err)
		}
	}
	return errors.Join(config.CheckFiles(), runtime, readers, clips)
}
