package archtest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// uses are names of the standard library that only some rooms may use, each with its reason. Test files and the packages for
// tests may use all.
var uses = []struct {
	from   string
	names  []string
	rooms  []string
	reason string
}{
	{"net/http", []string{"Server", "Serve", "ServeTLS", "ListenAndServe", "ListenAndServeTLS"}, []string{"internal/httpserver", "lab/bench"},
		"HTTP is served in one way, with time-outs and a graceful end; only the bench measures a bare server beside it"},
	{"net", []string{"Listen", "ListenTCP", "ListenUDP", "ListenUnix", "ListenPacket", "ListenConfig"},
		[]string{"cmd/", "lab/", "drivers/netscan"},
		"listeners are opened by the programs and handed in; a reader on the network is a device"},
}

func TestUses(t *testing.T) {
	eachFile(t, func(file, rel string) {
		if strings.HasSuffix(rel, "_test.go") || within(path.Dir(rel), forTests) {
			return
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range forbidden(parsed, path.Dir(rel)) {
			t.Errorf("%s uses %s", rel, found)
		}
	})
}

// forbidden returns what a file of a package uses that its room may not, each with the reason.
func forbidden(file *ast.File, pkg string) (found []string) {
	for _, u := range uses {
		local := localName(file, u.from)
		if local == "" || within(pkg, u.rooms) {
			continue
		}
		ast.Inspect(file, func(n ast.Node) bool {
			s, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			if x, ok := s.X.(*ast.Ident); ok && x.Name == local && slices.Contains(u.names, s.Sel.Name) {
				found = append(found, u.from+"."+s.Sel.Name+": "+u.reason)
			}
			return true
		})
	}
	return found
}

// localName is what a file calls an imported package, or "".
func localName(file *ast.File, imported string) string {
	for _, spec := range file.Imports {
		if p, err := strconv.Unquote(spec.Path.Value); err != nil || p != imported {
			continue
		}
		if spec.Name != nil {
			return spec.Name.Name
		}
		return path.Base(imported)
	}
	return ""
}

func TestForbidden(t *testing.T) {
	const head = "package p\nimport \"net\"\nimport web \"net/http\"\n"
	for _, c := range []struct {
		pkg, code string
		n         int
	}{
		{"visitserver", "var s = web.Server{}", 1},
		{"visitserver", "var s *web.Server\nfunc f() { web.ListenAndServe(``, nil); net.Listen(``, ``) }", 3},
		{"visitserver", "var c web.Client\nvar l net.Listener\nvar a = s.Serve", 0},
		{"internal/httpserver", "var s = web.Server{}", 0},
		{"cmd/kipass-visits", "func f() { net.Listen(``, ``) }", 0},
		{"cmd/kipass-visits", "func f() { web.Serve(nil, nil) }", 1},
	} {
		file, err := parser.ParseFile(token.NewFileSet(), "p.go", head+c.code, 0)
		if err != nil {
			t.Fatal(err)
		}
		if found := forbidden(file, c.pkg); len(found) != c.n {
			t.Errorf("%s: %s: found %v, want %d", c.pkg, c.code, found, c.n)
		}
	}
}

// What the lab breaks is in its own builds alone: outside the lab every file that knows of it has the build tag.
func TestOnlyTheLabsBuildsCanBeBroken(t *testing.T) {
	const tag = "//go:build kipasslab\n"
	tagged := 0
	eachFile(t, func(file, rel string) {
		if strings.HasPrefix(rel, "lab/") || strings.HasPrefix(rel, "internal/labfault/") {
			return
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		if localName(parsed, module+"internal/labfault") == "" {
			return
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		tagged++
		if !strings.HasPrefix(string(text), tag) {
			t.Errorf("%s imports internal/labfault and does not begin with %s", rel, tag)
		}
	})
	if tagged == 0 {
		t.Error("no program can be broken: the test looks for the wrong thing")
	}
}
