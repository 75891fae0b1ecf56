package bench

import (
	"bufio"
	"crypto/ed25519"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kipass/kipass/drivers/drivertest"
)

// bareCounter is the least that a gate does with a code: it reads it from a terminal, checks a signature over as many
// bytes and commits a record as long as a visit's.
type bareCounter struct {
	line      *drivertest.Pty
	terminal  *os.File
	codes     *bufio.Reader
	scheme    scheme
	disk      *disk
	public    ed25519.PublicKey
	signed    []byte
	signature []byte
}

func newBareCounter(link string, who scheme, d *disk) (*bareCounter, error) {
	c := &bareCounter{scheme: who, disk: d, public: who.issuer.Public().(ed25519.PublicKey)}
	text, err := who.code()
	if err != nil {
		return nil, err
	}
	c.signed = make([]byte, signedBytes(text))
	c.signature = ed25519.Sign(who.issuer, c.signed)
	if c.line, err = drivertest.OpenPty(link); err != nil {
		return nil, err
	}
	if c.terminal, err = os.OpenFile(link, os.O_RDWR|unix.O_NOCTTY, 0); err != nil {
		return nil, errors.Join(err, c.line.Close())
	}
	c.codes = bufio.NewReader(c.terminal)
	return c, nil
}

func (c *bareCounter) close() error { return errors.Join(c.terminal.Close(), c.line.Close()) }

func (c *bareCounter) scan() (time.Duration, error) {
	text, err := c.scheme.code()
	if err != nil {
		return 0, err
	}
	frame := []byte(text + "\r")
	return timed(func() error {
		if _, err := c.line.Write(frame); err != nil {
			return err
		}
		got, err := c.codes.ReadBytes('\r')
		if err != nil {
			return fmt.Errorf("reading from the bare terminal: %w", err)
		}
		if len(got) != len(frame) || !ed25519.Verify(c.public, c.signed, c.signature) {
			return fmt.Errorf("%d of %d bytes came over a bare terminal, or their signature does not hold", len(got), len(frame))
		}
		return c.disk.bolt.update(c.disk.record)
	})()
}
