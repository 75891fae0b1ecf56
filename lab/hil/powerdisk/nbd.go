package powerdisk

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Network block device protocol, transmission phase (proto.md of the NBD project: "Request message", "Simple reply
// message"). All numbers are big-endian.
const (
	requestMagic = 0x25609513
	replyMagic   = 0x67446698

	cmdRead  = 0
	cmdWrite = 1
	cmdDisc  = 2
	cmdFlush = 3

	flagFUA = 1 << 0 // of a command: durable before the reply

	errIO      = 5
	errInvalid = 22

	maxLength = 32 << 20 // bytes of one request, as the Linux client has it
)

// Serve answers the kernel's requests on c until it disconnects. Requests are answered one after the other.
func (d *Disk) Serve(c io.ReadWriter) error {
	var head [28]byte // magic, flags 16, command 16, cookie 64, offset 64, length 32
	for {
		if _, err := io.ReadFull(c, head[:]); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return fmt.Errorf("reading a request: %w", err)
		}
		if binary.BigEndian.Uint32(head[:]) != requestMagic {
			return errors.New("reading a request: it does not begin as one")
		}
		flags, command := binary.BigEndian.Uint16(head[4:]), binary.BigEndian.Uint16(head[6:])
		offset, length := binary.BigEndian.Uint64(head[16:]), binary.BigEndian.Uint32(head[24:])
		if command == cmdDisc {
			return nil
		}
		if length > maxLength {
			return fmt.Errorf("reading a request: %d bytes at once", length)
		}
		reply := make([]byte, 16, 16+length)
		var err error
		switch {
		case offset%Block != 0 || offset > 1<<50:
			err = fmt.Errorf("offset %d", offset)
		case command == cmdRead:
			reply = reply[:16+length]
			err = d.Read(int64(offset/Block), reply[16:])
		case command == cmdWrite:
			data := make([]byte, length)
			if _, err := io.ReadFull(c, data); err != nil {
				return fmt.Errorf("reading what to write: %w", err)
			}
			err = d.Write(int64(offset/Block), data, flags&flagFUA != 0)
		case command == cmdFlush:
			err = d.Flush()
		default:
			binary.BigEndian.PutUint32(reply[4:], errInvalid)
		}
		if err != nil {
			reply = reply[:16]
			binary.BigEndian.PutUint32(reply[4:], errIO)
		}
		binary.BigEndian.PutUint32(reply, replyMagic)
		copy(reply[8:16], head[8:16])
		if _, err := c.Write(reply); err != nil {
			return fmt.Errorf("answering a request: %w", err)
		}
	}
}
