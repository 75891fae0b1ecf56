package chain

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kipass/kipass/internal/labfault"
)

// DiskFaults are what may become of the gate's disk in the middle of a run. Slow, stalled and failing flushes are made
// by the lab's own build of the gate, in the calls that its journal makes; a full and a read-only disk are real: a
// small tmpfs, filled up or mounted read-only, which only root can do.
var DiskFaults = []string{"slow", "stall", "full", "readonly", "eio"}

const (
	slowFlush  = 500 * time.Millisecond
	stallFlush = 4 * time.Second // two of them are one commit
	diskSize   = "size=16m,mode=0700"
	diskFor    = 6 * time.Second // how long the disk is at fault
	ballastMax = 64 << 20
)

// mountDisk makes the gate's folder a small file system of its own.
func (s *stage) mountDisk() error {
	dir := s.path("gate")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, diskSize); err != nil {
		return fmt.Errorf("making a disk that can be full or read-only: mounting tmpfs on %s: %w; run as root", dir, err)
	}
	s.mounted = true
	return nil
}

// unmountDisk keeps what lies on the small disk and takes the disk away.
func (s *stage) unmountDisk() error {
	if !s.mounted {
		return nil
	}
	s.mounted = false
	kept, dir := s.path("gate.kept"), s.path("gate")
	err := os.CopyFS(kept, os.DirFS(dir))
	if e := unix.Unmount(dir, 0); e != nil {
		err = errors.Join(err, unix.Unmount(dir, unix.MNT_DETACH))
	}
	if err != nil {
		return fmt.Errorf("keeping what lies on the gate's disk: %w", err)
	}
	return errors.Join(os.Remove(dir), os.Rename(kept, dir))
}

// breakDisk does to the gate's disk what is asked for, says when it is so, and ends it.
func (s *stage) breakDisk(ctx context.Context, fault string, broken func(), table *table) error {
	table.say("디스크 오류 시작 / the gate's disk: " + fault)
	defer table.say("디스크 오류 끝 / the gate's disk is well again")
	s.troubled.begin()
	defer s.troubled.end()
	switch fault {
	case "full":
		return s.fillDisk(ctx, broken)
	case "readonly":
		return s.readOnlyDisk(ctx, broken)
	}
	begin := func(state *labfault.State) {
		state.Flush = map[string]time.Duration{"slow": slowFlush, "stall": stallFlush}[fault]
		state.Fail = fault == "eio"
	}
	if err := s.controls.change("gate", begin); err != nil {
		return err
	}
	pass(ctx, labfault.LookEvery)
	broken()
	pass(ctx, diskFor)
	return s.controls.change("gate", func(state *labfault.State) { state.Flush, state.Fail = 0, false })
}

// pass waits for d, or until ctx ends: a fault that has begun is always ended.
func pass(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// fillDisk writes until the disk takes no more.
func (s *stage) fillDisk(ctx context.Context, broken func()) error {
	path := filepath.Join(s.path("gate"), "ballast")
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = io.CopyN(f, zeros{}, ballastMax)
	if !errors.Is(err, unix.ENOSPC) {
		return errors.Join(fmt.Errorf("the disk is not full after %d bytes: %w", ballastMax, err), f.Close())
	}
	broken()
	pass(ctx, diskFor)
	return errors.Join(f.Close(), os.Remove(path))
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// readOnlyDisk has the gate find its disk read-only when it is started, as after a power cut that has damaged a card: a
// disk in use cannot be made so.
func (s *stage) readOnlyDisk(ctx context.Context, broken func()) error {
	whole := context.WithoutCancel(ctx)
	s.starting.Lock()
	defer s.starting.Unlock()
	s.killGate()
	dir := s.path("gate")
	if err := unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, diskSize); err != nil {
		return fmt.Errorf("making %s read-only: %w", dir, err)
	}
	started := make(chan error, 1)
	go func() { started <- s.startGate(whole) }() // it is ready once it can write
	broken()
	pass(ctx, diskFor)
	err := unix.Mount("", dir, "", unix.MS_REMOUNT, diskSize)
	return errors.Join(err, <-started)
}
