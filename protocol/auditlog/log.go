// Package auditlog is an append-only log that anyone can audit without seeing personal data: a file of one JSON entry a
// line, and a checkpoint over the Merkle tree (RFC 6962 section 2.1) of those lines, signed by the log's key (C2SP
// tlog-checkpoint). Every inquiry, opening, contact list and destruction is an entry. Whoever has kept an older
// checkpoint can show a rewritten history with [Verify].
package auditlog

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/kipass/kipass/internal/durable"
)

// Names of the two files in a log's folder. Both may be published as they are.
const (
	EntriesFile    = "entries.jsonl"
	CheckpointFile = "checkpoint"
)

// ErrTampered is wrapped by every error that shows that the files are not what was signed.
var ErrTampered = errors.New("audit log does not match its signed checkpoint")

// ErrInUse says that another process has the log open.
var ErrInUse = errors.New("audit log is open in another process")

// Log is a log open for appending. It is safe for concurrent use; one process may have it open.
type Log struct {
	dir      string
	disk     durable.Disk
	signer   signer
	verifier note.Verifier
	lock     *os.File

	syncing sync.Mutex // one SyncRegister at a time

	mu        sync.Mutex
	entries   *os.File
	length    int64 // bytes of signed entries
	tree      tree
	registers registers // as the signed entries have them
	signed    []byte    // checkpoint in force
	failed    bool      // what the disk holds is unknown: repair before anything else
	cut       int64     // bytes of unsigned tail removed when the log was opened
}

// Open opens the log in dir, and makes it if dir is empty or missing. All entries are hashed and compared with the signed
// checkpoint; a mismatch gives an error wrapping [ErrTampered] and changes nothing. Bytes after the last signed entry
// belong to an append that was never acknowledged: they are cut off, see [Log.Cut]. origin names the log to auditors, for
// example "visits.example.kr/audit"; it holds neither spaces nor '+'.
func Open(dir string, logKey ed25519.PrivateKey, origin string) (*Log, error) {
	return open(dir, logKey, origin, durable.Disk{})
}

func open(dir string, logKey ed25519.PrivateKey, origin string, disk durable.Disk) (*Log, error) {
	s, v, err := newSigner(origin, logKey)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("opening audit log: %w", err)
	}
	lock, err := lockDir(dir)
	if err != nil {
		return nil, err
	}
	l := &Log{dir: dir, disk: disk, signer: s, verifier: v, lock: lock}
	if err := errors.Join(disk.Sweep(dir), l.repair()); err != nil {
		_ = lock.Close()
		return nil, fmt.Errorf("opening audit log in %s: %w", dir, err)
	}
	return l, nil
}

// repair reads the files anew and brings them to the state of the signed checkpoint. Caller holds mu or owns l alone.
func (l *Log) repair() error {
	if l.entries != nil {
		_ = l.entries.Close()
		l.entries = nil
	}
	signed, err := os.ReadFile(filepath.Join(l.dir, CheckpointFile))
	if errors.Is(err, fs.ErrNotExist) {
		if signed, err = l.create(); err != nil {
			return err
		}
	} else if err != nil {
		return fmt.Errorf("reading the checkpoint: %w", err)
	}
	data, err := os.ReadFile(filepath.Join(l.dir, EntriesFile))
	if err != nil {
		return fmt.Errorf("reading the entries: %w", err)
	}
	t, length, err := load(data, signed, l.verifier)
	if err != nil {
		return err
	}
	told, err := registersOf(data[:length])
	if err != nil {
		return err
	}
	f, err := openAppend(filepath.Join(l.dir, EntriesFile))
	if err != nil {
		return fmt.Errorf("opening the entries: %w", err)
	}
	if tail := int64(len(data)) - length; tail > 0 {
		if err := errors.Join(f.Truncate(length), l.disk.Sync(f)); err != nil {
			return errors.Join(fmt.Errorf("cutting off %d bytes after the last signed entry: %w", tail, err), f.Close())
		}
		l.cut += tail
	}
	l.entries, l.tree, l.length, l.signed, l.failed = f, t, length, signed, false
	l.registers = told
	return nil
}

func openAppend(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
}

// create makes an empty log. Entries without a checkpoint are not a new log but one that has lost its checkpoint.
func (l *Log) create() ([]byte, error) {
	path := filepath.Join(l.dir, EntriesFile)
	if info, err := os.Stat(path); err == nil && info.Size() > 0 {
		return nil, fmt.Errorf("%w: there are entries but no checkpoint", ErrTampered)
	}
	f, err := openAppend(path)
	if err != nil {
		return nil, fmt.Errorf("making the entries' file: %w", err)
	}
	if err := errors.Join(l.disk.Sync(f), f.Close()); err != nil {
		return nil, fmt.Errorf("making the entries' file: %w", err)
	}
	var empty tree
	root, err := empty.root()
	if err != nil {
		return nil, err
	}
	signed, err := checkpoint{root: root}.sign(l.signer)
	if err != nil {
		return nil, fmt.Errorf("signing the first checkpoint: %w", err)
	}
	if err := l.disk.Replace(filepath.Join(l.dir, CheckpointFile), signed, 0o644); err != nil {
		return nil, fmt.Errorf("writing the first checkpoint: %w", err)
	}
	return signed, nil
}

// Append adds an entry and returns its number, counted from 0, once entry and checkpoint are durable. After an error
// the entry may or may not be in the log, as with any write whose answer is lost; what was to be logged must not happen.
// The next Append first brings the files back to what was signed.
func (l *Log) Append(e Entry) (uint64, error) {
	if e.At.IsZero() {
		return 0, errors.New("appending to the audit log: entry without a time")
	}
	e.At = e.At.UTC().Truncate(time.Millisecond)
	leaf, err := e.leaf()
	if err != nil {
		return 0, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lock == nil {
		return 0, errors.New("appending to the audit log: it is closed")
	}
	if l.failed {
		if err := l.repair(); err != nil {
			return 0, fmt.Errorf("repairing the audit log: %w", err)
		}
	}
	n := l.tree.size
	signed, err := l.write(leaf)
	if err != nil {
		l.failed = true
		return 0, fmt.Errorf("appending to the audit log: %w", err)
	}
	l.signed, l.length = signed, l.length+int64(len(leaf))+1
	l.registers.take(e)
	return uint64(n), nil
}

// write puts the entry on disk before the checkpoint that vouches for it.
func (l *Log) write(leaf []byte) ([]byte, error) {
	if err := l.disk.Append(l.entries, append(bytes.Clone(leaf), '\n')); err != nil {
		return nil, err
	}
	if err := l.disk.Sync(l.entries); err != nil {
		return nil, err
	}
	if err := l.tree.add(leaf); err != nil {
		return nil, err
	}
	root, err := l.tree.root()
	if err != nil {
		return nil, err
	}
	signed, err := checkpoint{size: l.tree.size, root: root}.sign(l.signer)
	if err != nil {
		return nil, err
	}
	return signed, l.disk.Replace(filepath.Join(l.dir, CheckpointFile), signed, 0o644)
}

// Checkpoint returns the newest signed checkpoint, for an auditor to keep.
func (l *Log) Checkpoint() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return bytes.Clone(l.signed)
}

// Snapshot returns the newest signed checkpoint and the entries it vouches for, as [Check] takes them.
func (l *Log) Snapshot() (entries, checkpoint []byte, err error) {
	l.mu.Lock()
	length, signed := l.length, bytes.Clone(l.signed)
	l.mu.Unlock()
	f, err := os.Open(filepath.Join(l.dir, EntriesFile))
	if err != nil {
		return nil, nil, fmt.Errorf("reading the audit log: %w", err)
	}
	defer f.Close()
	// The first length bytes never change again, whatever is appended meanwhile.
	entries = make([]byte, length)
	if _, err := io.ReadFull(f, entries); err != nil {
		return nil, nil, fmt.Errorf("reading the audit log: %w", err)
	}
	return entries, signed, nil
}

// Size returns how many entries there are.
func (l *Log) Size() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return uint64(l.tree.size)
}

// Cut returns how many bytes after the last signed entry were cut off since the log was opened: not 0 after a crash
// within an append, which is worth telling the operator.
func (l *Log) Cut() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.cut
}

// Origin returns the log's name.
func (l *Log) Origin() string { return l.signer.name }

// Close closes the log.
func (l *Log) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lock == nil {
		return nil
	}
	var err error
	if l.entries != nil {
		err = l.entries.Close()
	}
	err = errors.Join(err, l.lock.Close())
	l.lock = nil
	return err
}
