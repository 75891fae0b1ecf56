package archtest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// promised finds in a row of the table of promises what holds it: `package.TestName`, or a fuzz target, or a suite.
var promised = regexp.MustCompile("`([a-z0-9]+)\\.((?:Test|Fuzz)[A-Z]\\w*|\\w+Suite)`")

// What docs/architecture.md says to keep a promise is there, under the name that it has: each test that the table names
// exists, and each promise names one.
func TestWhatKeepsThePromisesExists(t *testing.T) {
	tests := testsByPackage(t)
	for _, row := range promiseRows(t) {
		named := promised.FindAllStringSubmatch(row, -1)
		if len(named) == 0 {
			t.Errorf("no test is named: %s", row)
		}
		for _, n := range named {
			if !tests[n[1]][n[2]] {
				t.Errorf("no package %s has %s", n[1], n[2])
			}
		}
	}
}

// promiseRows are the rows of the table in docs/architecture.md, without its head.
func promiseRows(t *testing.T) (rows []string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "architecture.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(text), "\n## Promises, and what keeps them\n")
	table, _, _ = strings.Cut(table, "\n## ")
	for line := range strings.Lines(table) {
		if strings.HasPrefix(line, "| ") && !strings.HasPrefix(line, "| promise |") {
			rows = append(rows, line)
		}
	}
	if len(rows) < 10 {
		t.Fatalf("the table of promises has %d rows: it is looked for in the wrong place", len(rows))
	}
	return rows
}

// testsByPackage are the tests of the tree, by the name of their package.
func testsByPackage(t *testing.T) map[string]map[string]bool {
	t.Helper()
	all := map[string]map[string]bool{}
	eachFile(t, func(file, rel string) {
		if !strings.HasSuffix(rel, "_test.go") && !within(path.Dir(rel), forTests) {
			return
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		pkg := strings.TrimSuffix(parsed.Name.Name, "_test")
		if all[pkg] == nil {
			all[pkg] = map[string]bool{}
		}
		for _, d := range parsed.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil {
				all[pkg][f.Name.Name] = true
			}
		}
	})
	return all
}
