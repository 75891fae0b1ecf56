// Package archtest holds the rules of who may import whom, each with its reason, against every file of the tree,
// whatever its build tags. docs/architecture.md tells them in words.
package archtest

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/kipass/kipass/"

// rules is read from the top; the first whose room a package lies in binds it. A room ending in "/" is a folder with
// all below it, any other is one package. may lists rooms in the same way.
var rules = []struct {
	room   string
	may    []string
	reason string
}{
	{"lab/", []string{"*"}, "the lab starts everything"},
	{"firmware/cmd/", []string{"firmware/", "uplink/", "drivers/", "token", "visit", "sounds", "configs"}, "only the gate's main joins the firmware to concrete drivers and to the uplink"},
	{"visitserver/cmd/", []string{"visitserver/", "inquiry/order", "inquiry/auditlog", "token", "visit", "uplink/wire", "daykey"}, "the server's main may wire the server, and identity must stay out of it"},
	{"issuer/cmd/", []string{"issuer/", "inquiry/order", "inquiry/auditlog", "token", "visit", "daykey"}, "the issuer's main may wire the issuer, and places must stay out of it"},
	{"inquiry/cmd/", []string{"inquiry/", "token", "visit", "internal/keyfile"}, "the authority joins answers over HTTP and holds no store"},
	{"token/cmd/", []string{"token"}, "the scheme operator handles trust lists only"},
	{"token", nil, "the format of codes stands alone, so that anyone can use it"},
	{"visit", nil, "the visit record stands alone, between gate and server"},
	{"drivers", nil, "the contracts say what to do, not what it means"},
	{"drivers/", []string{"drivers", "drivers/framing"}, "driver families never know codes, visits, firmware or each other"},
	{"sounds", []string{"visit"}, "clips and words belong to outcomes"},
	{"configs", []string{"visit"}, "a config names places and devices and opens none"},
	{"firmware/", []string{"firmware/", "drivers", "token", "visit", "sounds", "configs"}, "the gate knows contracts, never a concrete driver, and never waits for the network"},
	{"uplink/wire", []string{"visit"}, "the encoding is shared by gate and server and belongs to neither"},
	{"uplink/", []string{"uplink/wire", "visit", "internal/durable", "internal/keyfile"}, "the uplink sees the journal through an interface of its own"},
	{"visitserver/", []string{"visitserver/", "uplink/wire", "token", "visit", "inquiry/order", "inquiry/auditlog", "daykey", "internal/durable", "internal/authority"}, "place never meets identity in one program"},
	{"issuer/", []string{"issuer/", "token", "visit", "inquiry/order", "inquiry/auditlog", "daykey", "internal/durable", "internal/authority", "internal/keyfile"}, "identity never meets place in one program"},
	{"inquiry/order", []string{"visit", "internal/durable"}, "the order's format is shared by all who check it"},
	{"inquiry/auditlog", []string{"internal/durable"}, "the log's format is shared by all who keep one"},
	{"inquiry/", []string{"inquiry/order", "inquiry/auditlog", "token", "visit", "internal/durable", "internal/keyfile"}, "the authority joins answers over HTTP and holds no store"},
	{"daykey", []string{"visit", "internal/durable"}, "issuer and visit server keep and destroy days in one way, and it knows neither's data"},
	{"internal/keyfile", []string{"internal/durable"}, "a key's file is a durable file"},
	{"internal/", nil, "what lives here is below everything and knows nothing of codes, visits or people"},
}

// forTests are packages that exist for tests; test files anywhere may import them.
var forTests = []string{"drivers/drivertest", "visitserver/store/storetest"}

func TestImports(t *testing.T) {
	root := filepath.Join("..", "..")
	files := 0
	err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (strings.HasPrefix(d.Name(), ".") && d.Name() != ".." || d.Name() == "bin" || d.Name() == "testdata") {
			return fs.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(file, ".go") {
			return nil
		}
		rel, err := filepath.Rel(root, file)
		if err != nil {
			return err
		}
		files++
		checkFile(t, file, filepath.ToSlash(rel))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if files < 50 {
		t.Errorf("only %d files were looked at: the walk does not see the tree", files)
	}
}

func checkFile(t *testing.T, file, rel string) {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
	if err != nil {
		t.Fatal(err)
	}
	pkg := path.Dir(rel)
	for _, spec := range parsed.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			t.Fatal(err)
		}
		ours, ok := strings.CutPrefix(imported, module)
		if !ok || ours == pkg {
			continue
		}
		if strings.HasSuffix(rel, "_test.go") && within(ours, forTests) {
			continue
		}
		if reason := refusal(pkg, ours); reason != "" {
			t.Errorf("%s imports %s: %s", rel, ours, reason)
		}
	}
}

// refusal returns why pkg may not import ours, or "".
func refusal(pkg, ours string) string {
	for _, r := range rules {
		if !within(pkg, []string{r.room}) {
			continue
		}
		if within(ours, r.may) {
			return ""
		}
		return r.reason
	}
	return "the package lies in no room of docs/architecture.md"
}

func within(pkg string, rooms []string) bool {
	for _, room := range rooms {
		if room == "*" || pkg == strings.TrimSuffix(room, "/") || strings.HasSuffix(room, "/") && strings.HasPrefix(pkg, room) {
			return true
		}
	}
	return false
}

func TestRefusal(t *testing.T) {
	for _, c := range []struct {
		pkg, imports string
		allowed      bool
	}{
		{"firmware", "drivers", true},
		{"firmware", "drivers/serialscan", false},
		{"firmware/screen", "uplink", false},
		{"firmware/cmd/kipass-gate", "drivers/serialscan", true},
		{"firmware/cmd/kipass-gate", "visitserver", false},
		{"drivers/serialscan", "drivers/speaker", false},
		{"drivers/serialscan", "token", false},
		{"visitserver", "issuer", false},
		{"visitserver/store/embedded", "visitserver/store", true},
		{"issuer", "visitserver", false},
		{"inquiry", "issuer", false},
		{"token", "visit", false},
		{"uplink", "firmware/journal", false},
		{"issuer", "daykey", true},
		{"daykey", "visitserver/store", false},
		{"internal/durable", "visit", false},
		{"firmware/journal", "internal/durable", false},
		{"token", "internal/keyfile", false},
		{"somewhere/new", "visit", false},
	} {
		if got := refusal(c.pkg, c.imports) == ""; got != c.allowed {
			t.Errorf("%s importing %s: allowed %v, want %v", c.pkg, c.imports, got, c.allowed)
		}
	}
}
