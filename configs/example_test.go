package configs_test

import (
	"encoding"
	"encoding/json"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/kipass/kipass/configs"
	"github.com/kipass/kipass/internal/testkit"
)

var update = flag.Bool("update", false, "rewrite gate.schema.json from the types")

func readExample(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("gate.example.toml")
	testkit.Check(t, err)
	return string(text)
}

var commented = regexp.MustCompile(`(?m)^# ((?:[a-z_]+ = |\[+)\S?)`)

// TestTheExampleShowsTheDefaults loads the example as it is and with its commented keys in force: the defaults it shows
// are the real ones.
func TestTheExampleShowsTheDefaults(t *testing.T) {
	text := readExample(t)
	plain, err := configs.Parse("gate.example.toml", []byte(text))
	testkit.Check(t, err)
	full, err := configs.Parse("gate.example.toml", []byte(commented.ReplaceAllString(text, "$1")))
	testkit.Check(t, err)
	if full.Words == nil || len(full.Readers[0].Commands) != 12 || full.Readers[0].Users == nil {
		t.Fatalf("the commented keys are not in force: %+v", full)
	}
	lights := configs.DefaultLights()
	lights.Green, lights.Amber, lights.Red, lights.Buzzer, lights.Relay = "GPIO17", "GPIO27", "GPIO22", "GPIO23", "GPIO24"
	if len(full.Lights) != 1 || full.Lights[0] != lights {
		t.Errorf("the example's lights are %+v, want the defaults and lines: %+v", full.Lights, lights)
	}
	full.Words, full.Readers[0].Commands, full.Lights = nil, nil, nil
	plain.Readers[0].Users = []string{} // as it reads where it is written out
	if got, want := fmt.Sprintf("%#v", full), fmt.Sprintf("%#v", plain); got != want {
		t.Errorf("with its commented keys in force the example reads\n%s\nwithout\n%s", got, want)
	}
	want := configs.Default()
	if plain.Clock != want.Clock || plain.Journal != want.Journal || plain.Speaker != want.Speaker || plain.Screen != want.Screen {
		t.Errorf("the example changes a default: %+v", plain)
	}
}

func TestTheExampleShowsEveryKey(t *testing.T) {
	text := readExample(t)
	section := ""
	shown := map[string]bool{}
	line := regexp.MustCompile(`^(?:# )?(?:\[+([a-z_.]+)\]+|([a-z_]+) = \S+.*)(.*)$`)
	for l := range strings.Lines(text) {
		switch m := line.FindStringSubmatch(strings.TrimSpace(l)); {
		case m == nil:
		case m[1] != "":
			section = m[1] + "."
			shown[m[1]] = true
		default:
			shown[section+m[2]] = true
		}
	}
	eachField(reflect.TypeFor[configs.Gate](), "", func(path string, f reflect.StructField) {
		if path == "words" { // shown as [words.ko]
			path = "words.ko"
		}
		if !shown[path] {
			t.Errorf("the example does not show %s", path)
		}
	})
}

func eachField(t reflect.Type, prefix string, f func(path string, field reflect.StructField)) {
	for field := range t.Fields() {
		key, tagged := field.Tag.Lookup("toml")
		if !tagged {
			continue
		}
		f(prefix+key, field)
		inner := field.Type
		if inner.Kind() == reflect.Slice {
			inner = inner.Elem()
		}
		if inner.Kind() == reflect.Struct {
			eachField(inner, prefix+key+".", f)
		}
	}
}

// TestSchemaFollowsTheTypes makes the JSON Schema (draft 2020-12) from types, tags, defaults and the comments of gate.go.
func TestSchemaFollowsTheTypes(t *testing.T) {
	const file = "gate.schema.json"
	s := schema{comments: fieldComments(t), undocumented: map[string]bool{}}
	root := s.of(reflect.TypeFor[configs.Gate](), reflect.ValueOf(configs.Default()), reflect.StructField{})
	root["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	root["title"] = "kipass gate configuration, version " + strconv.Itoa(configs.Version)
	root["properties"].(map[string]any)["version"].(map[string]any)["const"] = configs.Version
	want, err := json.MarshalIndent(root, "", "  ")
	testkit.Check(t, err)
	want = append(want, '\n')
	if *update {
		testkit.Check(t, os.WriteFile(file, want, 0o644))
	}
	got, err := os.ReadFile(file)
	testkit.Check(t, err)
	if string(got) != string(want) {
		t.Errorf("%s does not follow the types; run: go test ./configs -run Schema -update", file)
	}
	for path := range s.undocumented {
		t.Errorf("%s has no comment in gate.go", path)
	}
}

type schema struct {
	comments     map[string]string // "Reader.Baud" to its comment
	undocumented map[string]bool
}

// of describes a type; v is its default, or the zero Value.
func (s *schema) of(t reflect.Type, v reflect.Value, field reflect.StructField) map[string]any {
	node := map[string]any{}
	_, isText := reflect.New(t).Interface().(encoding.TextMarshaler)
	switch {
	case isText || t.Kind() == reflect.String:
		node["type"] = "string"
		if isText && v.IsValid() {
			b, err := v.Interface().(encoding.TextMarshaler).MarshalText()
			if err != nil {
				panic(err)
			}
			node["default"] = string(b)
		} else if v.IsValid() {
			node["default"] = v.String()
		}
	case t.Kind() == reflect.Bool:
		node["type"] = "boolean"
		node["default"] = v.Bool()
	case t.Kind() == reflect.Int:
		node["type"] = "integer"
		node["default"] = v.Int()
	case t.Kind() == reflect.Map:
		node["type"] = "object"
		node["additionalProperties"] = s.of(t.Elem(), reflect.Value{}, reflect.StructField{})
	case t.Kind() == reflect.Slice:
		node["type"] = "array"
		if field.Tag.Get("required") == "yes" {
			node["minItems"] = 1
		}
		if t.Elem().Kind() == reflect.String {
			node["items"] = map[string]any{"type": "string"}
		}
		for _, section := range []any{configs.DefaultReader(), configs.DefaultLights()} {
			if defaults := reflect.ValueOf(section); defaults.Type() == t.Elem() {
				node["items"] = s.of(t.Elem(), defaults, reflect.StructField{})
			}
		}
	default:
		s.object(node, t, v)
	}
	if list, ok := field.Tag.Lookup("oneof"); ok {
		var allowed []any
		for one := range strings.SplitSeq(list, "|") {
			if n, err := strconv.Atoi(one); err == nil && t.Kind() == reflect.Int {
				allowed = append(allowed, n)
			} else {
				allowed = append(allowed, one)
			}
		}
		node["enum"] = allowed
	}
	return node
}

func (s *schema) object(node map[string]any, t reflect.Type, v reflect.Value) {
	properties, required := map[string]any{}, []string{}
	for f := range t.Fields() {
		key := f.Tag.Get("toml")
		p := s.of(f.Type, v.FieldByIndex(f.Index), f)
		comment := s.comments[t.Name()+"."+f.Name]
		if comment == "" {
			s.undocumented[t.Name()+"."+f.Name] = true
		}
		p["description"] = comment
		// A key that must stand and has no default of its own is required; the editor should not ask for the others.
		if f.Tag.Get("required") == "yes" && v.FieldByIndex(f.Index).IsZero() {
			required = append(required, key)
			delete(p, "default")
		}
		if inner, ok := p["required"].([]string); ok && len(inner) > 0 && !slices.Contains(required, key) {
			required = append(required, key)
		}
		properties[key] = p
	}
	node["type"], node["properties"], node["additionalProperties"] = "object", properties, false
	if len(required) > 0 {
		node["required"] = required
	}
}

func fieldComments(t *testing.T) map[string]string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "gate.go", nil, parser.ParseComments)
	testkit.Check(t, err)
	comments := map[string]string{}
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.TypeSpec)
		if !ok {
			return true
		}
		if structure, ok := spec.Type.(*ast.StructType); ok {
			for _, f := range structure.Fields.List {
				for _, name := range f.Names {
					comments[spec.Name.Name+"."+name.Name] = strings.Join(strings.Fields(f.Doc.Text()), " ")
				}
			}
		}
		return true
	})
	return comments
}

// TestSchemaKnowsTheLoadersKeys holds the kept schema against the keys the loader knows.
func TestSchemaKnowsTheLoadersKeys(t *testing.T) {
	text, err := os.ReadFile("gate.schema.json")
	testkit.Check(t, err)
	var root map[string]any
	testkit.Check(t, json.Unmarshal(text, &root))
	var keys []string
	collect(root, "", &keys)
	var want []string
	eachField(reflect.TypeFor[configs.Gate](), "", func(path string, _ reflect.StructField) { want = append(want, path) })
	slices.Sort(want)
	slices.Sort(keys)
	if !slices.Equal(keys, want) {
		t.Errorf("schema has %v, loader has %v", keys, want)
	}
}

func collect(node map[string]any, prefix string, keys *[]string) {
	properties, _ := node["properties"].(map[string]any)
	for _, key := range slices.Sorted(maps.Keys(properties)) {
		p := properties[key].(map[string]any)
		*keys = append(*keys, prefix+key)
		if items, ok := p["items"].(map[string]any); ok {
			p = items
		}
		collect(p, prefix+key+".", keys)
	}
}

func TestCheckFilesNamesEveryMissingFile(t *testing.T) {
	dir := t.TempDir()
	gate, err := configs.Parse(dir+"/gate.toml", []byte(strings.Replace(minimal, "[trust]", "ca = \"ca.pem\"\n[speaker]\nclips = \"clips\"\n[trust]", 1)))
	testkit.Check(t, err)
	gate.Place.State = dir + "/state"
	err = gate.CheckFiles()
	for _, want := range []string{"server.ca: ", "ca.pem", "speaker.clips: ", "/clips"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v does not name %s", err, want)
		}
	}
	testkit.Check(t, os.WriteFile(dir+"/ca.pem", []byte("no certificate"), 0o600))
	testkit.Check(t, os.WriteFile(dir+"/state", nil, 0o600))
	err = gate.CheckFiles()
	for _, want := range []string{"holds no PEM certificate", "is not a folder"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v does not say %q", err, want)
		}
	}
	gate.Server.CA, gate.Speaker.Clips, gate.Place.State = "", "", dir+"/later"
	if err := gate.CheckFiles(); err != nil {
		t.Errorf("nothing is named, yet: %v", err)
	}
}
