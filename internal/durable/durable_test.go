package durable

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

var errPlayed = errors.New("played fault")

// crash fails its n-th step, after having done it where persisted is set, and every one after: as a loss of power does.
type crash struct {
	n         int
	persisted bool
	names     []string
}

func (c *crash) step(name string, do func() error) error {
	c.names = append(c.names, name)
	if len(c.names) < c.n || c.n == 0 {
		return do()
	}
	if len(c.names) == c.n && c.persisted {
		if err := do(); err != nil {
			return err
		}
	}
	return errPlayed
}

const (
	before = "the content before"
	after  = "content"
)

// read returns a file's content, "" if there is none.
func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return string(b)
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestFaultsOfEachStep plays every step of every call as failed and as failed but persisted. The call must tell, the file
// must be one of the two it may be, and the call repeated must do all of its work.
func TestFaultsOfEachStep(t *testing.T) {
	for _, c := range []struct {
		call  string
		do    func(d Disk, path string) error
		had   string   // before
		may   []string // content after the fault, besides had; "" is no file
		want  string
		steps string
	}{
		{"Replace", func(d Disk, p string) error { return d.Replace(p, []byte(after), 0o644) }, before, []string{after}, after,
			"create write chmod sync rename sync folder"},
		{"Replace of nothing", func(d Disk, p string) error { return d.Replace(p, []byte(after), 0o644) }, "", []string{after}, after,
			"create write chmod sync rename sync folder"},
		{"Rename", func(d Disk, p string) error {
			if _, err := os.Stat(p + ".from"); err != nil { // an earlier call got that far
				return d.SyncDir(filepath.Dir(p))
			}
			return d.Rename(p+".from", p)
		}, before, []string{after}, after, "rename sync folder"},
		{"Sync of what another wrote", func(d Disk, p string) error {
			f, err := os.OpenFile(p, os.O_WRONLY|os.O_TRUNC, 0)
			if err == nil {
				_, err = f.WriteString(after)
			}
			if err == nil {
				err = d.Sync(f)
			}
			return errors.Join(err, f.Close())
		}, before, []string{after}, after, "sync"},
		{"Append", func(d Disk, p string) error {
			f, err := os.OpenFile(p, os.O_WRONLY|os.O_TRUNC|os.O_APPEND, 0)
			if err == nil {
				err = d.Append(f, []byte(after))
			}
			return errors.Join(err, f.Close())
		}, before, []string{"", after}, after, "append"},
		{"Remove", func(d Disk, p string) error { return d.Remove(p) }, before, []string{""}, "", "remove sync folder"},
		{"Erase", func(d Disk, p string) error { return d.Erase(p) }, before, []string{"", "noise"}, "",
			"write chmod sync remove sync folder"},
	} {
		clean := &crash{}
		dir := t.TempDir()
		path := filepath.Join(dir, "file")
		begin := func() {
			if c.had == "" {
				_ = os.Remove(path)
			} else {
				write(t, path, c.had)
			}
			write(t, path+".from", after)
		}
		begin()
		if err := c.do(Disk{Step: clean.step}, path); err != nil || strings.Join(clean.names, " ") != c.steps {
			t.Fatalf("%s: steps %q, %v; want %q", c.call, clean.names, err, c.steps)
		}
		for n := 1; n <= len(clean.names); n++ {
			for _, persisted := range []bool{false, true} {
				name := c.call + ": " + clean.names[n-1] + map[bool]string{false: " failed", true: " failed but persisted"}[persisted]
				begin()
				played := &crash{n: n, persisted: persisted}
				if err := c.do(Disk{Step: played.step}, path); !errors.Is(err, errPlayed) {
					t.Errorf("%s: returned %v", name, err)
				}
				got := read(t, path)
				ok := got == c.had
				for _, m := range c.may {
					ok = ok || got == m || m == "noise" && len(got) == len(c.had)
				}
				if !ok {
					t.Errorf("%s: the file holds %q", name, got)
				}
				if err := c.do(Disk{}, path); err != nil || read(t, path) != c.want {
					t.Errorf("%s: repeated: %q, %v; want %q", name, read(t, path), err, c.want)
				}
				if left, _ := filepath.Glob(filepath.Join(dir, scratch+"*")); len(left) > 0 {
					t.Errorf("%s: %v is left", name, left)
				}
			}
		}
	}
}

func TestCreateMakesOneFileOrNone(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	clean := &crash{}
	if err := (Disk{Step: clean.step}).Create(path, []byte(after), 0o640); err != nil || read(t, path) != after {
		t.Fatalf("created %q, %v", read(t, path), err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if err := (Disk{}).Create(path, []byte("other"), 0o600); !errors.Is(err, fs.ErrExist) || read(t, path) != after {
		t.Errorf("over a file that is there: %v, %q", err, read(t, path))
	}
	for n, name := range clean.names {
		for _, persisted := range []bool{false, true} {
			_ = os.Remove(path)
			played := &crash{n: n + 1, persisted: persisted}
			if err := (Disk{Step: played.step}).Create(path, []byte(after), 0o600); !errors.Is(err, errPlayed) {
				t.Errorf("%s: returned %v", name, err)
			}
			if got := read(t, path); name == "sync folder" && got != after || name != "sync folder" && got != "" {
				t.Errorf("%s, persisted %v: the file holds %q", name, persisted, got)
			}
		}
	}
}

func TestErasedBytesAreOverwritten(t *testing.T) {
	dir := t.TempDir()
	path, link := filepath.Join(dir, "file"), filepath.Join(dir, "link") // the link shows what becomes of the bytes
	write(t, path, before)
	if err := os.Link(path, link); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := (Disk{}).Erase(path); err != nil {
			t.Fatal(err)
		}
	}
	if got := read(t, link); len(got) != len(before) || strings.Contains(got, before[4:12]) || strings.Count(got, got[:1]) == len(got) {
		t.Errorf("the bytes are now %q", got)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the file is there: %v", err)
	}
}

func TestSweepErasesHalfWrittenFilesAlone(t *testing.T) {
	dir := t.TempDir()
	half, link, whole := filepath.Join(dir, scratch+"1"), filepath.Join(t.TempDir(), "link"), filepath.Join(dir, "file")
	write(t, half, before)
	write(t, whole, before)
	if err := os.Link(half, link); err != nil {
		t.Fatal(err)
	}
	if err := (Disk{}).Sweep(dir); err != nil {
		t.Fatal(err)
	}
	if read(t, half) != "" || read(t, link) == before || read(t, whole) != before {
		t.Error("what is left is not the whole file alone")
	}
	if err := (Disk{}).Sweep(filepath.Join(dir, "missing")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing folder: %v", err)
	}
}

func TestReadersOfAReplacedFileSeeOneContentWhole(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	contents := [][]byte{bytes.Repeat([]byte("a"), 5000), bytes.Repeat([]byte("b"), 9000)}
	write(t, path, string(contents[0]))
	var wg sync.WaitGroup
	for _, c := range contents {
		wg.Go(func() {
			for range 20 {
				if err := (Disk{}).Replace(path, c, 0o600); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Go(func() {
		for range 200 {
			b, err := os.ReadFile(path)
			if err != nil || !bytes.Equal(b, contents[0]) && !bytes.Equal(b, contents[1]) {
				t.Errorf("read %d bytes, %v", len(b), err)
			}
		}
	})
	wg.Wait()
}
