package auditlog

import (
	"bytes"
	"crypto/ed25519"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// Report is what an audit found in a log that holds.
type Report struct {
	Entries  []Entry
	Size     uint64 // number of entries, as signed
	Unsigned int64  // bytes after the last signed entry: an append under way or interrupted; no part of the log
}

// Verify audits the log in dir as [Check] does. The checkpoint is read before the entries, so it may be run beside a
// program that appends.
func Verify(dir string, pub ed25519.PublicKey, origin string, older ...[]byte) (Report, error) {
	vkey, err := VerifierKey(origin, pub)
	if err != nil {
		return Report{}, fmt.Errorf("auditing %s: %w", dir, err)
	}
	return VerifyDir(dir, vkey, older...)
}

// VerifyDir is Verify with the key in the form [VerifierKey] returns.
func VerifyDir(dir, vkey string, older ...[]byte) (Report, error) {
	signed, err := os.ReadFile(filepath.Join(dir, CheckpointFile))
	if err != nil {
		return Report{}, fmt.Errorf("auditing: %w", err)
	}
	entries, err := os.ReadFile(filepath.Join(dir, EntriesFile))
	if err != nil {
		return Report{}, fmt.Errorf("auditing: %w", err)
	}
	return Check(entries, signed, vkey, older...)
}

// Check audits a log: the checkpoint's signature, every entry's form, every hash up to the signed root, the inclusion
// proof of every entry, and, for each older checkpoint the auditor has kept, its signature and the consistency proof
// (RFC 6962 section 2.1.2) that the log has only grown since. Errors that show a change wrap [ErrTampered].
func Check(entries, signed []byte, vkey string, older ...[]byte) (Report, error) {
	v, err := newVerifier(vkey)
	if err != nil {
		return Report{}, fmt.Errorf("auditing: verifier key: %w", err)
	}
	t, length, err := load(entries, signed, v)
	if err != nil {
		return Report{}, fmt.Errorf("auditing %s: %w", v.Name(), err)
	}
	root, err := t.root()
	if err != nil {
		return Report{}, fmt.Errorf("auditing %s: %w", v.Name(), err)
	}
	r := Report{Size: uint64(t.size), Unsigned: int64(len(entries)) - length}
	for i, leaf := range Leaves(entries[:length]) {
		e, err := ParseEntry(leaf)
		if err != nil {
			return Report{}, fmt.Errorf("auditing %s: entry %d: %w", v.Name(), i, err)
		}
		proof, err := tlog.ProveRecord(t.size, int64(i), &t)
		if err == nil {
			err = tlog.CheckRecord(proof, t.size, root, int64(i), tlog.RecordHash(leaf))
		}
		if err != nil {
			return Report{}, fmt.Errorf("auditing %s: entry %d: %w: %v", v.Name(), i, ErrTampered, err)
		}
		r.Entries = append(r.Entries, e)
	}
	for _, raw := range older {
		if err := checkOlder(&t, root, raw, v); err != nil {
			return Report{}, fmt.Errorf("auditing %s: %w", v.Name(), err)
		}
	}
	return r, nil
}

func checkOlder(t *tree, root tlog.Hash, raw []byte, v note.Verifier) error {
	old, err := openCheckpoint(raw, v)
	if err != nil {
		return fmt.Errorf("older checkpoint: %w", err)
	}
	if old.size > t.size {
		return fmt.Errorf("%w: it had %d entries once and has %d now", ErrTampered, old.size, t.size)
	}
	if old.size == 0 {
		return nil // the empty tree is a beginning of every tree
	}
	proof, err := tlog.ProveTree(t.size, old.size, t)
	if err == nil {
		err = tlog.CheckTree(proof, t.size, root, old.size, old.root)
	}
	if err != nil {
		return fmt.Errorf("%w: the first %d entries were rewritten since the older checkpoint", ErrTampered, old.size)
	}
	return nil
}

// load hashes the signed entries and compares the root with the checkpoint's. It returns the tree and how many bytes
// the signed entries take.
func load(data, signed []byte, v note.Verifier) (tree, int64, error) {
	c, err := openCheckpoint(signed, v)
	if err != nil {
		return tree{}, 0, fmt.Errorf("%w: %v", ErrTampered, err)
	}
	var t tree
	rest := data
	for t.size < c.size {
		leaf, after, whole := bytes.Cut(rest, []byte("\n"))
		if !whole {
			return tree{}, 0, fmt.Errorf("%w: %d entries are signed, %d are there", ErrTampered, c.size, t.size)
		}
		if err := t.add(leaf); err != nil {
			return tree{}, 0, err
		}
		rest = after
	}
	root, err := t.root()
	if err != nil {
		return tree{}, 0, err
	}
	if root != c.root {
		return tree{}, 0, fmt.Errorf("%w: the root over %d entries is not the signed one", ErrTampered, c.size)
	}
	return t, int64(len(data) - len(rest)), nil
}

// Leaves cuts signed entries, as [Log.Snapshot] returns them, into leaves for [ParseEntry].
func Leaves(entries []byte) [][]byte {
	if len(entries) == 0 {
		return nil
	}
	return bytes.Split(bytes.TrimSuffix(entries, []byte("\n")), []byte("\n"))
}
