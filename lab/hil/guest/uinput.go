package guest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Requests and kinds of events of linux/uinput.h and input-event-codes.h.
const (
	uiDevCreate  = 0x5501
	uiDevDestroy = 0x5502
	uiDevSetup   = 0x405c5503
	uiSetEvBit   = 0x40045564
	uiSetKeyBit  = 0x40045565
	uiGetSysname = 0x8040552c // 64 bytes

	evSyn = 0
	evKey = 1

	eventSize = 24 // struct input_event on 64 bits
)

// BuiltIn is a scanner built into a PDA: an input device that the kernel shows under a name, here made with uinput.
type BuiltIn struct {
	name string

	mu   sync.Mutex
	own  *os.File // nil while it is not there
	node string
}

// NewBuiltIn makes a scanner of the name.
func NewBuiltIn(name string) (*BuiltIn, error) {
	s := &BuiltIn{name: name}
	return s, s.Replug()
}

// Replug implements Keyboard.
func (s *BuiltIn) Replug() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.own != nil {
		return nil
	}
	f, err := os.OpenFile("/dev/uinput", os.O_RDWR|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	sysname := make([]byte, 64)
	err = control(f, func(fd int) error {
		if err := unix.IoctlSetInt(fd, uiSetEvBit, evKey); err != nil {
			return err
		}
		for code := 1; code < 128; code++ {
			if err := unix.IoctlSetInt(fd, uiSetKeyBit, code); err != nil {
				return err
			}
		}
		// struct uinput_setup: bus, vendor, product, version as 16 bits each, 80 bytes of name, 32 bits.
		setup := make([]byte, 92)
		binary.NativeEndian.PutUint16(setup, 0x19) // BUS_HOST
		copy(setup[8:87], s.name)
		if err := ioctlBytes(fd, uiDevSetup, setup); err != nil {
			return err
		}
		if err := unix.IoctlSetInt(fd, uiDevCreate, 0); err != nil {
			return err
		}
		return ioctlBytes(fd, uiGetSysname, sysname)
	})
	if err != nil {
		return errors.Join(fmt.Errorf("making an input device: %w", err), f.Close())
	}
	input := filepath.Join("/sys/devices/virtual/input", unix.ByteSliceToString(sysname))
	err = await("an event device for "+s.name, func() (bool, error) {
		found, err := filepath.Glob(filepath.Join(input, "event*"))
		if err != nil || len(found) == 0 {
			return false, err
		}
		s.node = filepath.Join("/dev/input", filepath.Base(found[0]))
		_, err = os.Stat(s.node)
		return err == nil, nil
	})
	if err != nil {
		return errors.Join(err, f.Close())
	}
	s.own = f
	return nil
}

// Unplug implements Keyboard.
func (s *BuiltIn) Unplug() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.own == nil {
		return nil
	}
	err := control(s.own, func(fd int) error { return unix.IoctlSetInt(fd, uiDevDestroy, 0) })
	err = errors.Join(err, s.own.Close())
	s.own, s.node = nil, ""
	return err
}

// Type implements Keyboard.
func (s *BuiltIn) Type(b []byte) error {
	for _, c := range b {
		if err := s.Burst([]byte{c}); err != nil {
			return err
		}
		time.Sleep(betweenKeys)
	}
	return nil
}

// Burst types all of b at once, faster than any reader of the device can follow.
func (s *BuiltIn) Burst(b []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.own == nil {
		return nil
	}
	var events []byte
	put := func(kind, code uint16, value int32) {
		events = append(events, make([]byte, 16)...) // the kernel fills in the time
		events = binary.NativeEndian.AppendUint16(events, kind)
		events = binary.NativeEndian.AppendUint16(events, code)
		events = binary.NativeEndian.AppendUint32(events, uint32(value))
	}
	for _, c := range b {
		k, err := keyFor(c)
		if err != nil {
			return err
		}
		for _, value := range []int32{1, 0} {
			if k.shift {
				put(evKey, shiftCode, value)
			}
			put(evKey, k.code, value)
			put(evSyn, 0, 0)
		}
	}
	if _, err := s.own.Write(events); err != nil {
		return fmt.Errorf("the scanner cannot type: %w", err)
	}
	return nil
}

// Node implements Keyboard.
func (s *BuiltIn) Node() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.node
}

// Close implements Keyboard.
func (s *BuiltIn) Close() error { return s.Unplug() }
