package configs

import (
	"bytes"
	"encoding"
	"fmt"
	"maps"
	"reflect"
	"slices"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// mark is one key or section as it stands in the file.
type mark struct {
	path     string // with array positions: "reader[0].baud"
	name     string // the path's last part
	line     int
	kind     unstable.Kind
	typ      reflect.Type // what it is decoded into; nil if there is no such key
	siblings []string     // the keys that could stand here
}

// marker walks a file along with the type it is decoded into.
type marker struct {
	data   []byte
	offset int // up to which lines are counted
	lines  int // before offset
	counts map[string]int
	found  []mark
}

// findMarks returns every key and section of the file in order. Beneath an unknown key it does not go.
func findMarks(data []byte) ([]mark, error) {
	var decoded map[string]any
	if err := toml.Unmarshal(data, &decoded); err != nil {
		return nil, err
	}
	m := &marker{data: data, counts: map[string]int{}}
	var p unstable.Parser
	p.Reset(data)
	section, typ := "", reflect.TypeFor[Gate]()
	for p.NextExpression() {
		node := p.Expression()
		switch node.Kind {
		case unstable.Table, unstable.ArrayTable:
			if section, typ = m.key("", reflect.TypeFor[Gate](), node, node.Kind); typ != nil && !isSection(typ) {
				typ = nil
			}
		case unstable.KeyValue:
			m.keyValue(section, typ, node)
		}
	}
	return m.found, p.Error()
}

func (m *marker) keyValue(section string, typ reflect.Type, node *unstable.Node) {
	value := node.Value()
	path, typ := m.key(section, typ, node, value.Kind)
	m.value(path, typ, value)
}

func (m *marker) value(path string, typ reflect.Type, value *unstable.Node) {
	if typ == nil {
		return
	}
	children := value.Children()
	switch {
	case value.Kind == unstable.InlineTable && isSection(typ):
		for children.Next() {
			m.keyValue(path, typ, children.Node())
		}
	case value.Kind == unstable.Array && typ.Kind() == reflect.Slice:
		for i := 0; children.Next(); i++ {
			one := fmt.Sprintf("%s[%d]", path, i)
			if isText(typ.Elem()) {
				m.found = append(m.found, mark{path: one, line: m.lines + 1, kind: children.Node().Kind, typ: typ.Elem()})
			}
			m.value(one, typ.Elem(), children.Node())
		}
	}
}

// key follows a possibly dotted key from a section and marks its last part, or the first that is unknown or cannot
// have parts. It returns where it arrived; the type is nil if that is nowhere.
func (m *marker) key(path string, typ reflect.Type, node *unstable.Node, kind unstable.Kind) (string, reflect.Type) {
	parts := node.Key()
	for typ != nil && parts.Next() {
		part := parts.Node()
		name, last := string(part.Data), parts.IsLast()
		found := mark{name: name, path: join(path, name), line: m.lineOf(part), kind: unstable.Table, siblings: keysOf(typ)}
		found.typ = fieldOf(typ, name)
		path, typ = found.path, found.typ
		if last {
			found.kind = kind
		}
		if last && kind == unstable.ArrayTable && typ != nil && isSections(typ) {
			found.path = fmt.Sprintf("%s[%d]", path, m.counts[path])
		}
		if last || typ == nil || !isSection(typ) && !isSections(typ) {
			m.found = append(m.found, found)
		}
		if typ == nil || !isSections(typ) {
			if !last && typ != nil && !isSection(typ) {
				return path, nil
			}
			continue
		}
		if last && kind != unstable.ArrayTable && kind != unstable.Table {
			return path, typ
		}
		if last && kind == unstable.ArrayTable {
			m.counts[path]++
		}
		path, typ = fmt.Sprintf("%s[%d]", path, max(0, m.counts[path]-1)), typ.Elem()
	}
	return path, typ
}

// lineOf counts on from the last key asked for: keys come in the file's order, except that the parts of an outer key
// never follow those of its value.
func (m *marker) lineOf(key *unstable.Node) int {
	to := int(key.Raw.Offset)
	if to < m.offset {
		m.offset, m.lines = 0, 0
	}
	m.lines += bytes.Count(m.data[m.offset:to], []byte("\n"))
	m.offset = to
	return m.lines + 1
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// isText reports whether t is written as a string.
func isText(t reflect.Type) bool {
	return t.Kind() == reflect.String || reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]())
}

// isSection reports whether t is written as a table.
func isSection(t reflect.Type) bool {
	return !isText(t) && (t.Kind() == reflect.Struct || t.Kind() == reflect.Map)
}

// isSections reports whether t is written as a table that may stand several times.
func isSections(t reflect.Type) bool { return t.Kind() == reflect.Slice && isSection(t.Elem()) }

// fields returns the fields of a section's struct by key.
func fields(t reflect.Type) map[string]reflect.StructField {
	byKey := map[string]reflect.StructField{}
	for f := range t.Fields() {
		if key, tagged := f.Tag.Lookup("toml"); tagged {
			byKey[key] = f
		}
	}
	return byKey
}

func fieldOf(t reflect.Type, key string) reflect.Type {
	if t.Kind() == reflect.Map {
		return t.Elem()
	}
	if f, ok := fields(t)[key]; ok {
		return f.Type
	}
	return nil
}

func keysOf(t reflect.Type) []string {
	if t.Kind() == reflect.Map {
		return nil
	}
	return slices.Sorted(maps.Keys(fields(t)))
}

// fits reports whether a value of kind can be decoded into t, and in which words t is written.
func fits(kind unstable.Kind, t reflect.Type, name string) (bool, string) {
	switch {
	case isText(t):
		return kind == unstable.String, "must be a text in quotes"
	case isSection(t):
		return kind == unstable.Table || kind == unstable.InlineTable, "is a section: write [" + name + "]"
	case t.Kind() == reflect.Slice && isText(t.Elem()):
		return kind == unstable.Array, `must be texts in quotes between brackets, for example ["root", "scanner"]`
	case t.Kind() == reflect.Slice:
		return kind == unstable.ArrayTable || kind == unstable.Array, "may stand several times: write [[" + name + "]] with two brackets"
	case t.Kind() == reflect.Bool:
		return kind == unstable.Bool, "must be true or false"
	default:
		return kind == unstable.Integer, "must be a whole number without quotes"
	}
}
