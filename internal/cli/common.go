package cli

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
)

// Data defines --data DIR, the folder in which a program keeps its data. It is required.
func (f Flags) Data(p *string, text string) {
	f.String(p, "data", Dir, text)
	f.Require("data")
}

// Config defines --config FILE, a config in TOML.
func (f Flags) Config(p *string) { f.String(p, "config", TOML, "설정 파일 / config file") }

// Listen defines --listen ADDRESS.
func (f Flags) Listen(p *string) {
	f.String(p, "listen", Address, "요청을 받을 주소, 포트 0은 빈 포트 / address to listen on; port 0 takes a free one")
}

// Output defines --output FILE, which is required.
func (f Flags) Output(p *string, text string) {
	f.String(p, "output", File, text)
	f.Require("output")
}

// LogLevel defines --log-level and returns what makes the command's logger, once its flags are parsed.
func (f Flags) LogLevel() func(io.Writer) *slog.Logger {
	name := "info"
	f.Choice(&name, "log-level", []string{"debug", "info", "warn", "error"},
		"기록할 가장 낮은 수준 / lowest level that is logged")
	return func(w io.Writer) *slog.Logger {
		var level slog.Level
		must(level.UnmarshalText([]byte(name)))
		return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: level}))
	}
}

// ValueOrFile returns what a public value is that may be given as it is or as the name of a file that holds it.
func ValueOrFile(given string) string {
	if text, err := os.ReadFile(given); err == nil {
		return strings.TrimSpace(string(text))
	}
	return given
}

// ReadFiles returns the contents of the files that a repeated flag names.
func ReadFiles(paths []string) ([][]byte, error) {
	var all [][]byte
	for _, path := range paths {
		content, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", path, err)
		}
		all = append(all, content)
	}
	return all, nil
}
