package configs

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// MaxSize is the size in bytes above which a file is refused unread.
const MaxSize = 1 << 20

// ErrNoConfig is wrapped by Load's error when there is no file: a gate not yet set up, as distinct from one set up wrongly.
var ErrNoConfig = errors.New("there is no configuration file")

// Problem is one mistake in a file.
type Problem struct {
	Line int    // from 1; 0 where no single line is to blame
	Key  string // for example "reader[0].baud"; empty for mistakes of syntax
	Text string // what is wrong and what to do
}

// Problems is the error of a file that was found but cannot be used. It holds every mistake, by line, and no secret.
type Problems struct {
	File string
	List []Problem
}

// Error returns one line per mistake, each as file:line: key: text.
func (p *Problems) Error() string {
	var lines []string
	for _, one := range p.List {
		where := p.File
		if one.Line > 0 {
			where = fmt.Sprintf("%s:%d", p.File, one.Line)
		}
		if one.Key != "" {
			where += ": " + one.Key
		}
		lines = append(lines, where+": "+one.Text)
	}
	return strings.Join(lines, "\n")
}

// Load reads and checks the file at path. Its error wraps [ErrNoConfig] if there is none, and is a [*Problems] if the
// file's content is wrong. It opens no other file: see [Gate.CheckFiles].
func Load(path string) (Gate, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Gate{}, fmt.Errorf("reading %s: %w; copy the example and fill it in", path, ErrNoConfig)
	case err != nil:
		return Gate{}, fmt.Errorf("reading the configuration: %w", err)
	case !info.Mode().IsRegular():
		return Gate{}, fmt.Errorf("reading %s: is not a regular file", path)
	case info.Size() > MaxSize:
		return Gate{}, tooLarge(path)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return Gate{}, fmt.Errorf("reading the configuration: %w", err)
	}
	return Parse(path, data)
}

// Parse checks the content of a file called name, against whose folder relative paths in it are resolved. Its error is
// a [*Problems].
func Parse(name string, data []byte) (Gate, error) {
	if len(data) > MaxSize {
		return Gate{}, tooLarge(name)
	}
	marks, err := findMarks(data)
	if err != nil {
		return Gate{}, &Problems{File: name, List: []Problem{syntaxProblem(err)}}
	}
	c := check{marks: marks}
	gate := Default()
	if version, ok := readVersion(data); ok && version > Version {
		c.add("version", "is %d, but this program reads version %d; install a newer kipass-gate", version, Version)
		return Gate{}, c.problems(name)
	}
	c.shape()
	if !c.misshapen {
		decoder := toml.NewDecoder(bytes.NewReader(data)).DisallowUnknownFields()
		if err := decoder.Decode(&gate); err != nil {
			c.decodeError(err)
		}
		fill(&c, "reader", gate.Readers, DefaultReader())
		fill(&c, "lights", gate.Lights, DefaultLights())
		c.values(&gate)
	}
	if len(c.list) > 0 {
		return Gate{}, c.problems(name)
	}
	folder := filepath.Dir(name)
	for _, path := range []*string{&gate.Place.State, &gate.Server.CA, &gate.Speaker.Clips} {
		if *path != "" && !filepath.IsAbs(*path) {
			*path = filepath.Join(folder, *path)
		}
	}
	return gate, nil
}

func tooLarge(name string) error {
	return &Problems{File: name, List: []Problem{{Text: fmt.Sprintf("is larger than %d bytes; is it a configuration file?", MaxSize)}}}
}

// readVersion looks at the version alone, since a file of a later version may hold anything else.
func readVersion(data []byte) (int64, bool) {
	var head struct {
		Version any `toml:"version"`
	}
	if err := toml.Unmarshal(data, &head); err != nil {
		return 0, false
	}
	version, ok := head.Version.(int64)
	return version, ok
}

func syntaxProblem(err error) Problem {
	p := Problem{Text: strings.TrimPrefix(err.Error(), "toml: ")}
	var at *toml.DecodeError
	if errors.As(err, &at) {
		p.Line, _ = at.Position()
	}
	return p
}
