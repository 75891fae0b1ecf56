package sim

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/kipass/kipass/internal/daykey"
	"github.com/kipass/kipass/issuer"
	"github.com/kipass/kipass/protocol/day"
	"github.com/kipass/kipass/protocol/visit"
	"github.com/kipass/kipass/visitserver"
)

// The dead are what no disk may show any more. They are looked for as a thief would who has all disks at once: every file
// of every party is read whatever its name, every key in it is unwrapped with the master keys that lie on the disks, and
// every sealed record in it is tried with all of these. Backups are left out: whoever keeps one answers for it.

// disk is what a party has on its disks.
type disk struct {
	party   string
	folders []string
	master  []byte // that its keys are wrapped under; nil: it has none
}

func (w *world) disks() []disk {
	all := []disk{
		{"the visit server", []string{w.visits.folder.Dir, w.visits.folder.SecretDir()}, w.visits.master()},
		{"the authority", []string{w.authority.dir}, nil},
	}
	for _, i := range w.issuers {
		all = append(all, disk{"issuer " + i.name, []string{i.dir, issuer.SecretDir(i.dir, "")}, i.master()})
	}
	for _, g := range w.gates {
		all = append(all, disk{g.name, g.folders(), nil})
	}
	return all
}

func (v *visitParty) master() []byte {
	text, _ := os.ReadFile(filepath.Join(v.folder.SecretDir(), "master.key"))
	key, _ := base64.StdEncoding.DecodeString(strings.TrimSpace(string(text)))
	return key
}

func (i *issuerParty) master() []byte {
	key, _ := os.ReadFile(filepath.Join(issuer.SecretDir(i.dir, ""), "master.key"))
	return key
}

// folders are all that lies on the gate's disk, and in its memory.
func (g *gateParty) folders() []string {
	if g.memory == "" {
		return []string{g.config.Place.State}
	}
	return []string{g.config.Place.State, g.memory}
}

// each shows every file of the disk.
func (d disk) each(show func(path string, content []byte)) error {
	var failed []error
	for _, folder := range d.folders {
		failed = append(failed, filepath.WalkDir(folder, func(path string, e fs.DirEntry, err error) error {
			if err != nil || !e.Type().IsRegular() {
				return err
			}
			content, err := os.ReadFile(path)
			if errors.Is(err, fs.ErrNotExist) { // it has just been replaced
				return nil
			}
			show(path, content)
			return err
		}))
	}
	return errors.Join(failed...)
}

// thief remembers what opened once: a sealing key's work on an epoch is the same every night.
type thief struct {
	openers map[stolen]*visit.Opener // nil: the key does not open the epoch
}

type stolen struct {
	key   visit.SealKeyID
	epoch visit.EpochID
	gate  visit.Gate
}

// dead looks at all disks for what should be gone by now.
func (w *world) dead() {
	var seals []visit.SealPrivateKey
	disks := w.disks()
	for _, d := range disks {
		unwrap := newUnwrapper(d.master)
		err := d.each(func(path string, content []byte) {
			if bytes.Contains(content, []byte(phonePrefix)) || bytes.Contains(content, []byte(namePrefix)) {
				w.violated("%s has somebody's name or number readable on its disk: %s", d.party, filepath.Base(path))
			}
			seals = append(seals, w.look(d, path, content, unwrap)...)
		})
		if err != nil {
			w.violated("the disk of %s cannot be read: %v", d.party, err)
		}
	}
	for n, g := range w.gates {
		if d := disks[len(disks)-len(w.gates)+n]; g.cancel != nil && w.sound(g) {
			if err := d.each(func(path string, content []byte) { w.rob(g, path, content, seals) }); err != nil {
				w.violated("the disk of %s cannot be read: %v", g.name, err)
			}
		}
	}
}

// look tries whether a file is somebody's key of a day that should be gone, and returns the sealing keys there are.
func (w *world) look(d disk, path string, content []byte, unwrap *unwrapper) (seals []visit.SealPrivateKey) {
	first, last := day.Of(w.begun)-1, day.Of(time.Now())+2*visitserver.SealKeyDays
	secret, on, ok := unwrap.open(filepath.Base(path), content, first, last)
	if !ok {
		return nil
	}
	if strings.HasPrefix(path, w.visits.folder.Dir) && strings.Contains(path, "/seal/") { // goes by the gates that use it, see rob
		return []visit.SealPrivateKey{sealKey(secret)}
	}
	if late := time.Since(on.DestroyAt()); late > grace {
		w.violated("%s still has the key of %v, %v too late", d.party, on, late)
	}
	return nil
}

// rob opens what a file of a gate's shows to the keys that there are. What is set aside ends by a rule of its own: the key
// that it is sealed to is replaced weekly, and goes four weeks after.
func (w *world) rob(g *gateParty, path string, content []byte, seals []visit.SealPrivateKey) {
	kept := grace
	if name := filepath.Base(path); strings.HasSuffix(name, ".damaged") || strings.HasSuffix(name, ".elsewhere") {
		kept += (visitserver.SealKeyDays + 1) * 24 * time.Hour
	}
	found := carve(content)
	told := map[day.Day]bool{}
	for _, r := range found.records {
		for _, e := range found.epochs {
			if e.First > r.Seq {
				continue
			}
			v, ok := w.thief.open(g, e, r, seals)
			if !ok {
				continue
			}
			d := day.Of(v.At)
			if late := time.Since(d.DestroyAt()); late > kept && !told[d] {
				told[d] = true
				w.violated("%s still shows a visit of %v in %s, %v too late", g.name, d, filepath.Base(path), late)
			}
			break
		}
	}
}

// open opens a record, if one of the keys is that of its epoch.
func (t *thief) open(g *gateParty, e visit.Epoch, r visit.Sealed, seals []visit.SealPrivateKey) (visit.Visit, bool) {
	for _, key := range seals {
		if key.ID() != e.Key {
			continue
		}
		which := stolen{key.ID(), e.ID(), g.config.Place.Name}
		opener, tried := t.openers[which]
		if !tried {
			var err error
			if opener, err = visit.NewOpener(key, facility, g.config.Place.Name, e); err != nil {
				opener = nil
			}
			t.openers[which] = opener
		}
		if opener == nil {
			continue
		}
		if v, err := opener.Open(r.Seq, r.Data); err == nil {
			return v, true
		}
	}
	return visit.Visit{}, false
}

// unwrapper opens key files as the doc comment of package daykey describes them.
type unwrapper struct{ wrap cipher.AEAD }

const (
	nonceSize   = 12
	wrappedSize = nonceSize + daykey.KeySize + 16
)

func newUnwrapper(master []byte) *unwrapper {
	if len(master) != daykey.KeySize {
		return &unwrapper{}
	}
	key, err := hkdf.Key(sha256.New, master, nil, "kipass day key wrap v1", daykey.KeySize)
	if err != nil {
		panic(err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err)
	}
	wrap, err := cipher.NewGCM(block)
	if err != nil {
		panic(err)
	}
	return &unwrapper{wrap}
}

// open tries whether content is the wrapped key of any day from first to last.
func (u *unwrapper) open(name string, content []byte, first, last day.Day) (secret []byte, on day.Day, ok bool) {
	if u.wrap == nil || len(content) != wrappedSize {
		return nil, 0, false
	}
	if d, err := day.Parse(name[:min(len(name), len(time.DateOnly))]); err == nil { // most likely
		if s, ok := u.try(content, d); ok {
			return s, d, true
		}
	}
	for d := first; d <= last; d++ {
		if s, ok := u.try(content, d); ok {
			return s, d, true
		}
	}
	return nil, 0, false
}

func (u *unwrapper) try(content []byte, d day.Day) (secret []byte, ok bool) {
	secret, err := u.wrap.Open(nil, content[:nonceSize], content[nonceSize:], []byte("kipass day key v1 "+d.String()))
	return secret, err == nil
}

// sealKey is the private half of a sealing key that is made of a secret.
func sealKey(secret []byte) visit.SealPrivateKey {
	seed, err := hkdf.Key(sha256.New, secret, nil, "kipass visit seal key v1", daykey.KeySize)
	if err != nil {
		panic(err)
	}
	key, err := visit.ParseSealPrivateKey(seed)
	if err != nil {
		panic(err)
	}
	return key
}
