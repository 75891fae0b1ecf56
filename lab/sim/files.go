package sim

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kipass/kipass/issuer"
	"github.com/kipass/kipass/protocol/day"
)

// ofFiles is what happens to the files of the parties, with how often it does.
var ofFiles = []fault{
	{"stray files", 2, func(w *world, g *gateParty) { w.stray(g) }},
	{"day damaged", 2, func(w *world, _ *gateParty) { w.damage() }},
}

// strays are names of what file systems, file managers, network disks and operators leave among files. DAY stands for a day
// of which there are files; a slash ends the name of a folder.
var strays = []string{
	"lost+found/", ".nfs00000000000a1b2c00000001", ".fuse_hidden0000a1b200000001", "._DAY.key", "._DAY.db", "DAY (copy).db", "DAY (copy).key",
	"DAY (copy)/", "DAY.key~", ".DAY.key.swp", "Thumbs.db", ".DS_Store",
}

// stray lets something lie in every folder of every party that is none of its files. All start again on it.
func (w *world) stray(g *gateParty) {
	name := strays[w.rng.IntN(len(strays))]
	name = strings.ReplaceAll(name, "DAY", (day.Of(time.Now()) - day.Day(w.rng.IntN(5))).String())
	name, folder := strings.CutSuffix(name, "/")
	w.trace("strays called %q", name)
	v := w.visits
	if v.stop(); v.dead { // its power was cut as it ended
		return
	}
	among := []string{filepath.Join(v.folder.Dir, "keys", "days"), filepath.Join(v.folder.Dir, "keys", "seal")}
	w.leave(name, folder, v.folder.Dir, v.folder.SecretDir(), filepath.Join(v.folder.Dir, "keys"), v.folder.Audit())
	w.leave(name, folder, among...)
	inStore := []string{storePath + "/days", storePath + "/aside"}
	for _, dir := range append(inStore, storePath) {
		w.check("a stray in the store", v.leave(v.files.PathJoin(dir, name), folder))
	}
	w.check("the visit server among strays", v.start())
	for _, i := range w.issuers {
		i.close()
		w.leave(name, folder, i.dir, issuer.SecretDir(i.dir, ""), filepath.Join(i.dir, "days"), filepath.Join(i.dir, "keys"), filepath.Join(i.dir, "audit"))
		w.check("issuer "+i.name+" among strays", i.open(w))
	}
	for _, dir := range g.folders() {
		w.leave(name, folder, dir)
	}
	w.leave(name, folder, filepath.Join(g.config.Place.State, "journal"), filepath.Join(g.config.Place.State, "identity"), w.authority.dir)
	g.off(time.Second, false)
	w.told(name, append(among, inStore...))
}

// told holds the visit server to telling of what lies among its days and is none.
func (w *world) told(name string, dirs []string) {
	l, err := w.visits.ledger()
	w.check("the ledger among strays", err)
	for _, dir := range dirs {
		if path := filepath.Join(dir, name); err == nil && !slices.Contains(l.Strays, path) {
			w.violated("the ledger does not tell of %s in %s", name, dir)
		}
	}
}

// leave puts a file or a folder into folders.
func (w *world) leave(name string, folder bool, dirs ...string) {
	for _, dir := range dirs {
		path := filepath.Join(dir, name)
		if folder {
			w.check("a stray", os.MkdirAll(path, 0o700))
		} else {
			w.check("a stray", os.WriteFile(path, []byte("nobody knows"), 0o600))
		}
	}
}

func (v *visitParty) leave(path string, folder bool) error {
	if folder {
		return v.files.MkdirAll(path, 0o700)
	}
	f, err := v.files.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	return f.Close()
}

// damage spoils what a party keeps of one day of the last weeks: its key, or its data. The visits of that day may be lost,
// and inquiries have to tell.
func (w *world) damage() {
	d := day.Of(time.Now()) - day.Day(2+w.rng.IntN(20))
	which := w.rng.IntN(4)
	i := w.issuers[w.rng.IntN(len(w.issuers))]
	switch which {
	case 0, 1:
		if w.visits.stop(); w.visits.dead {
			return
		}
		path := filepath.Join(w.visits.folder.Dir, "keys", "days", d.String()+".key")
		if which == 0 {
			w.spoil("the visit server's key", d, path)
		} else {
			w.spoilRows(d)
		}
		w.check("the visit server on a damaged day", w.visits.start())
	case 2, 3:
		i.close()
		path := filepath.Join(i.dir, "keys", d.String()+".key")
		if which == 3 {
			path = filepath.Join(i.dir, "days", d.String()+".db")
		}
		if before, after := w.spoil("issuer "+i.name, d, path); before != nil {
			i.spoil(d, which == 2 && !bytes.Equal(before, after) || which == 3 && loses(before, after))
			w.lost = append(w.lost, span{d.Start(), (d + 1).Start(), "codes of issuer " + i.name})
		}
		w.check("issuer "+i.name+" on a damaged day", i.open(w))
	}
}

// spoil turns some bits of a file, or cuts it short, and returns what it held and what it holds; nil if there is none.
func (w *world) spoil(what string, d day.Day, path string) (before, after []byte) {
	before, err := os.ReadFile(path)
	if err != nil {
		return nil, nil
	}
	w.trace("%s of %v is damaged", what, d)
	after = w.mangle(slices.Clone(before))
	w.check("damage", os.WriteFile(path, after, 0o600))
	w.damaged[d] = true
	return before, after
}

func (w *world) mangle(content []byte) []byte {
	if w.rng.IntN(3) == 0 {
		return content[:w.rng.IntN(len(content)+1)]
	}
	for range 1 + len(content)/500 {
		content[w.rng.IntN(len(content))] ^= 1 << w.rng.IntN(8)
	}
	return content
}

// spoilRows does so to one file of a day in the visit server's store.
func (w *world) spoilRows(d day.Day) {
	files := w.visits.files
	dir := storePath + "/days/" + d.String()
	names, err := files.List(dir)
	if err != nil || len(names) == 0 {
		return
	}
	slices.Sort(names)
	path := files.PathJoin(dir, names[w.rng.IntN(len(names))])
	content, err := files.UnsafeGetFileDataBuffer(path)
	if err != nil || len(content) == 0 {
		return
	}
	w.trace("the visit server's rows of %v are damaged in %s", d, filepath.Base(path))
	f, err := files.Create(path, vfs.WriteCategoryUnspecified)
	if err == nil {
		_, err = f.Write(w.mangle(slices.Clone(content)))
		err = errors.Join(err, f.Sync(), f.Close())
	}
	w.check("damage", err)
	w.damaged[d] = true
}
