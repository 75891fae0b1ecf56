// Package archtest holds the rules of who may import whom, each with its reason, against every file of the tree,
// whatever its build tags. docs/architecture.md tells them in words.
package archtest

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/kipass/kipass/"

// The ground floor: what crosses the lines between the parties, and what is below everything.
var (
	protocol = []string{"protocol/token", "protocol/visit", "protocol/day", "protocol/wire", "protocol/order", "protocol/auditlog", "protocol/publickey"}
	internal = []string{"internal/durable", "internal/keyfile", "internal/authority", "internal/daykey", "internal/guard", "internal/kerneltime",
		"internal/httpserver", "internal/diskspace", "internal/startup", "internal/loglimit", "internal/secretdir", "internal/secretfile", "internal/unixpath",
		"internal/boltcheck"}
)

// rules is read from the top; the first whose room a package lies in binds it. A room ending in "/" is a folder with
// all below it, any other is one package. may lists rooms in the same way.
var rules = []struct {
	room   string
	may    []string
	reason string
}{
	{"cmd/kipass-gate", join(protocol, internal, "internal/cli", "station", "firmware/", "uplink", "drivers/", "sounds", "configs", "internal/labfault"), "only the gate's main opens concrete drivers"},
	{"station", []string{"firmware/", "uplink", "drivers", "configs", "protocol/token", "protocol/visit", "protocol/wire"}, "a gate's parts are joined in one place, which is handed devices and network"},
	{"cmd/kipass-visits", join(protocol, internal, "internal/cli", "visitserver/", "internal/labfault"), "the server's main may wire the server, and identity must stay out of it"},
	{"cmd/kipass-issuer", join(protocol, internal, "internal/cli", "issuer/"), "the issuer's main may wire the issuer, and places must stay out of it"},
	{"cmd/kipass-inquiry", join(protocol, internal, "internal/cli", "inquiry/"), "the authority joins answers over HTTP and holds no other party's store"},
	{"cmd/kipass-scheme", join(internal, nil, "internal/cli", "protocol/token", "protocol/publickey"), "the scheme operator handles trust lists only"},
	{"cmd/kipass-lab", join(internal, nil, "internal/cli", "lab/chain", "lab/bench", "lab/sim/seeds"), "the lab's main starts rooms of the lab"},
	{"cmd/kipass-hil", join(internal, nil, "internal/cli", "lab/hil"), "the main of the hardware tests starts that room of the lab"},
	{"protocol/day", nil, "the calendar is below every format"},
	{"protocol/person", nil, "how a name is written lies below all who keep names"},
	{"protocol/publickey", nil, "what a key is lies below every register of keys"},
	{"protocol/token", []string{"protocol/publickey", "protocol/day"}, "the format of codes stands alone, so that anyone can use it"},
	{"protocol/visit", []string{"protocol/day"}, "the visit record stands alone, between gate and server"},
	{"protocol/wire", []string{"protocol/visit", "protocol/day"}, "the encoding is shared by gate and server and belongs to neither"},
	{"protocol/order", []string{"protocol/visit", "protocol/day", "protocol/publickey", "internal/durable"}, "the order's format is shared by all who check it"},
	{"protocol/auditlog", []string{"protocol/publickey", "internal/durable"}, "the log's format is shared by all who keep one"},
	{"drivers", nil, "the contracts say what to do, not what it means"},
	{"drivers/", []string{"drivers", "drivers/framing", "drivers/internal/", "internal/loglimit", "internal/peer"}, "driver families never know codes, visits, firmware or each other"},
	{"sounds", []string{"protocol/visit"}, "clips and words belong to outcomes"},
	{"configs", []string{"protocol/visit", "protocol/publickey", "internal/spelling", "drivers", "drivers/framing"}, "a config names places, devices and how their frames end, and opens none"},
	{"firmware/screen", []string{"firmware/health", "protocol/visit", "protocol/day", "sounds", "configs", "internal/httpserver", "internal/peer"}, "the screen serves pages and is told outcomes only: it knows neither codes nor readers"},
	{"firmware/journal", []string{"internal/boltcheck", "protocol/visit", "protocol/day", "internal/durable", "internal/diskspace"}, "the journal keeps sealed visits in durable files and knows nothing else of the gate"},
	{"firmware/clock", []string{"protocol/token", "protocol/visit", "internal/kerneltime"}, "the gate's clock knows how codes age and asks the kernel, and nothing else of the gate"},
	{"firmware/", []string{"firmware/", "drivers", "protocol/token", "protocol/visit", "protocol/day", "sounds", "configs"}, "the gate knows contracts, never a concrete driver, and never waits for the network"},
	{"uplink/", []string{"protocol/wire", "protocol/visit", "protocol/day", "internal/durable", "internal/keyfile"}, "the uplink sees the journal through an interface of its own"},
	{"visitserver/store", []string{"protocol/visit", "protocol/day"}, "the contract with a store is drawn without any store"},
	{"visitserver/store/", []string{"visitserver/store", "protocol/visit", "protocol/day", "internal/loglimit"}, "stores know the contract and never each other"},
	{"visitserver", join(protocol, internal, "visitserver/store", "visitserver/rowcipher"), "place never meets identity in one program, and the server is handed its store"},
	{"visitserver/rowcipher", []string{"visitserver/store", "protocol/visit", "protocol/day", "internal/daykey", "internal/durable"}, "what is stored is sealed in one place, whatever stores it"},
	{"issuer/", join(protocol, internal, "issuer/", "protocol/person"), "identity never meets place in one program"},
	{"inquiry/", join(protocol, internal, "inquiry/", "protocol/person"), "the authority joins answers over HTTP and holds no other party's store"},
	{"internal/cli/", []string{"internal/cli", "internal/spelling"}, "all programs talk to people in one way, and it knows none of them"},
	{"internal/daykey", []string{"protocol/day", "internal/durable"}, "issuer and visit server keep and destroy days in one way, and it knows neither's data"},
	{"internal/guard", []string{"protocol/day", "internal/durable", "internal/kerneltime"}, "time is guarded in one way, whatever it guards"},
	{"internal/testkit", []string{"internal/durable"}, "what all tests share knows no party"},
	{"internal/testkit/fakevisits", []string{"internal/testkit", "internal/authority", "protocol/wire", "protocol/visit"}, "a fake server speaks the protocol and is made of no party's code"},
	{"internal/labfault", []string{"internal/durable"}, "what the lab breaks knows none of what stands on it"},
	{"internal/keyfile", []string{"internal/durable", "internal/secretfile"}, "a key's file is a durable file"},
	{"internal/boltcheck", nil, "it knows the database's file and nothing of what is in it"},
	{"internal/diskspace", []string{"internal/durable", "internal/loglimit"}, "what is kept free on a disk is kept in one way, and it knows nothing of what is stored"},
	{"internal/httpserver", []string{"internal/loglimit"}, "HTTP is served in one way by every party, so it knows no party's routes, refusals or encodings"},
	{"internal/", nil, "what lives here is below everything and knows nothing of codes, visits or people"},
	{"lab/internal/", nil, "what the lab's rooms share knows none of them"},
	{"lab/chain", labRoom(), "the lab's rooms do not import each other"},
	{"lab/bench", labRoom(), "the lab's rooms do not import each other"},
	{"lab/sim/seeds", nil, "the seeds are played in processes of their own"},
	{"lab/sim", labRoom("internal/testkit/memnet"), "the lab's rooms do not import each other"},
	{"lab/hil/", labRoom("lab/hil/"), "the lab's rooms do not import each other"},
}

func join(a, b []string, more ...string) []string { return slices.Concat(a, b, more) }

// labRoom lists all that a room of the lab may see: every party, and nothing of the other rooms.
func labRoom(own ...string) []string {
	return append(join(protocol, internal, "internal/labfault", "lab/internal/", "station", "firmware/", "uplink", "drivers/", "sounds", "configs", "visitserver/", "issuer", "inquiry"), own...)
}

// forTests are packages that exist for tests; test files anywhere may import them.
var forTests = []string{"internal/testkit/", "internal/cli/clitest", "drivers/drivertest", "visitserver/store/storetest"}

// inTests are further packages that the test files of a room may import, because the room is tested on the real thing.
var inTests = map[string][]string{
	"visitserver": {"visitserver/store/embedded"},
}

func TestImports(t *testing.T) {
	eachFile(t, func(file, rel string) { checkFile(t, file, rel) })
}

// eachFile calls f for every Go file of the tree, with its path from here and from the root.
func eachFile(t *testing.T, f func(file, rel string)) {
	t.Helper()
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
		f(file, filepath.ToSlash(rel))
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
		if strings.HasSuffix(rel, "_test.go") && (within(ours, forTests) || within(ours, inTests[pkg])) {
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
		{"cmd/kipass-gate", "drivers/serialscan", true},
		{"cmd/kipass-gate", "visitserver", false},
		{"station", "uplink", true},
		{"station", "drivers/serialscan", false},
		{"cmd/kipass-visits", "visitserver/store/embedded", true},
		{"cmd/kipass-visits", "issuer", false},
		{"cmd/kipass-scheme", "protocol/visit", false},
		{"drivers/serialscan", "drivers/speaker", false},
		{"drivers/serialscan", "protocol/token", false},
		{"visitserver", "issuer", false},
		{"visitserver", "uplink", false},
		{"visitserver", "visitserver/store", true},
		{"visitserver", "visitserver/store/embedded", false},
		{"visitserver/rowcipher", "visitserver", false},
		{"visitserver/store/embedded", "visitserver/store", true},
		{"visitserver/store/embedded", "visitserver", false},
		{"visitserver/store", "visitserver/store/embedded", false},
		{"issuer", "visitserver", false},
		{"issuer", "inquiry", false},
		{"inquiry", "issuer", false},
		{"protocol/token", "protocol/visit", false},
		{"protocol/order", "inquiry", false},
		{"issuer", "protocol/person", true},
		{"visitserver", "protocol/person", false},
		{"cmd/kipass-gate", "protocol/person", false},
		{"uplink", "firmware/journal", false},
		{"issuer", "internal/daykey", true},
		{"internal/daykey", "visitserver/store", false},
		{"visitserver", "internal/httpserver", true},
		{"firmware/screen", "internal/httpserver", true},
		{"uplink", "internal/httpserver", false},
		{"internal/httpserver", "protocol/wire", false},
		{"internal/durable", "protocol/visit", false},
		{"internal/testkit", "protocol/wire", false},
		{"internal/testkit/fakevisits", "protocol/wire", true},
		{"internal/testkit/fakevisits", "visitserver", false},
		{"internal/testkit/memnet", "protocol/wire", false},
		{"protocol/token", "internal/keyfile", false},
		{"lab/chain", "visitserver", true},
		{"lab/chain", "lab/bench", false},
		{"lab/hil/guest", "lab/hil/job", true},
		{"lab/hil/guest", "lab/chain", false},
		{"firmware", "lab/chain", false},
		{"firmware/journal", "internal/boltcheck", true},
		{"issuer", "internal/boltcheck", true},
		{"firmware/journal", "internal/durable", true},
		{"firmware/journal", "firmware/health", false},
		{"internal/boltcheck", "protocol/visit", false},
		{"somewhere/new", "protocol/visit", false},
	} {
		if got := refusal(c.pkg, c.imports) == ""; got != c.allowed {
			t.Errorf("%s importing %s: allowed %v, want %v", c.pkg, c.imports, got, c.allowed)
		}
	}
}

// floors lists the rooms from the top of the house to the bottom.
var floors = [][]string{
	{"cmd/"},
	{"lab/"},
	{"station"},
	{"firmware/", "uplink/", "visitserver/", "issuer/", "inquiry/"},
	{"configs", "sounds"},
	{"drivers/"},
	{"internal/daykey", "internal/guard", "internal/kerneltime", "internal/testkit/"},
	{"protocol/wire", "protocol/order", "protocol/auditlog"},
	{"protocol/visit", "protocol/token"},
	{"protocol/day", "protocol/publickey", "protocol/person"},
	{"internal/cli/", "internal/keyfile", "internal/authority", "internal/httpserver", "internal/diskspace", "internal/labfault"},
	{"internal/durable", "internal/spelling", "internal/startup", "internal/loglimit", "internal/secretdir", "internal/secretfile", "internal/unixpath", "internal/peer", "internal/boltcheck"},
}

func floorOf(room string) int {
	return slices.IndexFunc(floors, func(rooms []string) bool { return within(strings.TrimSuffix(room, "/"), rooms) })
}

// The rules themselves let nothing import upwards, nor sideways into another folder: no circle of folders can arise.
func TestRulesGoDown(t *testing.T) {
	for _, r := range rules {
		if r.room == "internal/" { // the rest of it, which may import nothing
			continue
		}
		from := floorOf(r.room)
		if from < 0 {
			t.Errorf("%s stands on no floor", r.room)
		}
		for _, to := range r.may {
			own, _, _ := strings.Cut(r.room, "/")
			inside := within(strings.TrimSuffix(to, "/"), []string{own + "/"})
			if floor := floorOf(to); floor < from || floor == from && !inside {
				t.Errorf("%s, on floor %d from the top, may import %s on floor %d", r.room, from, to, floor)
			}
		}
	}
}
