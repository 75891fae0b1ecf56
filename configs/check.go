package configs

import (
	"cmp"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"github.com/kipass/kipass/internal/spelling"
)

// check gathers every mistake of one file.
type check struct {
	marks     []mark
	list      []Problem
	misshapen bool // some key holds another kind of value than it can: the file cannot be decoded
}

// add notes a mistake about the key at path, on its line or, where it is missing, on that of the section it belongs in.
func (c *check) add(path, format string, args ...any) {
	c.list = append(c.list, Problem{Line: c.line(path), Key: path, Text: fmt.Sprintf(format, args...)})
}

func (c *check) line(path string) int {
	for {
		for _, m := range c.marks {
			if m.path == path {
				return m.line
			}
		}
		end := strings.LastIndexAny(path, ".[")
		if end < 0 {
			return 0
		}
		path = path[:end]
	}
}

// has reports whether the key at path, or one beneath it, stands in the file.
func (c *check) has(path string) bool {
	return slices.ContainsFunc(c.marks, func(m mark) bool { return m.path == path || strings.HasPrefix(m.path, path+".") })
}

func (c *check) problems(file string) error {
	slices.SortStableFunc(c.list, func(a, b Problem) int {
		return cmp.Or(a.Line-b.Line, strings.Compare(a.Key, b.Key))
	})
	return &Problems{File: file, List: c.list}
}

// shape reports keys that do not exist and values of the wrong kind.
func (c *check) shape() {
	for _, m := range c.marks {
		if m.typ == nil {
			c.list = append(c.list, Problem{Line: m.line, Key: m.path, Text: "there is no such key" + hint(m)})
			continue
		}
		if ok, want := fits(m.kind, m.typ, m.name); !ok {
			c.misshapen = true
			c.list = append(c.list, Problem{Line: m.line, Key: m.path, Text: want})
		}
	}
}

func hint(m mark) string {
	if name := spelling.Nearest(m.name, m.siblings); name != "" {
		return fmt.Sprintf("; did you mean %q?", name)
	}
	for section, f := range fields(reflect.TypeFor[Gate]()) {
		t := f.Type
		if t.Kind() == reflect.Slice {
			t = t.Elem()
		}
		if isSection(t) && slices.Contains(keysOf(t), m.name) {
			return fmt.Sprintf("; %q belongs in the section [%s]", m.name, section)
		}
	}
	if len(m.siblings) == 0 {
		return ""
	}
	return "; there are: " + strings.Join(m.siblings, ", ")
}

// decodeError notes what the decoder found and shape did not, in the decoder's words.
func (c *check) decodeError(err error) {
	var strict *toml.StrictMissingError
	if errors.As(err, &strict) {
		for _, one := range strict.Errors {
			line, _ := one.Position()
			key := strings.Join(one.Key(), ".")
			if !slices.ContainsFunc(c.list, func(p Problem) bool { return p.Line == line }) {
				c.list = append(c.list, Problem{Line: line, Key: key, Text: "there is no such key"})
			}
		}
		return
	}
	c.list = append(c.list, syntaxProblem(err))
}

// walk calls f for every value of a configuration with its path.
func walk(path string, v reflect.Value, f func(path string, v reflect.Value, field reflect.StructField)) {
	switch {
	case isText(v.Type()):
	case v.Kind() == reflect.Struct:
		for field, value := range v.Fields() {
			if key, tagged := field.Tag.Lookup("toml"); tagged {
				f(join(path, key), value, field)
				walk(join(path, key), value, f)
			}
		}
	case v.Kind() == reflect.Slice:
		for i := range v.Len() {
			walk(fmt.Sprintf("%s[%d]", path, i), v.Index(i), f)
		}
	case v.Kind() == reflect.Map:
		for _, key := range v.MapKeys() {
			f(join(path, key.String()), v.MapIndex(key), reflect.StructField{})
			walk(join(path, key.String()), v.MapIndex(key), f)
		}
	}
}

// fill gives the keys that the sections of one kind leave out the defaults of that kind.
func fill[T any](c *check, kind string, sections []T, defaults T) {
	from := reflect.ValueOf(defaults)
	for i := range sections {
		path, section := fmt.Sprintf("%s[%d]", kind, i), reflect.ValueOf(&sections[i]).Elem()
		for key, field := range fields(section.Type()) {
			if !c.has(join(path, key)) {
				section.FieldByIndex(field.Index).Set(from.FieldByIndex(field.Index))
			}
		}
	}
}
