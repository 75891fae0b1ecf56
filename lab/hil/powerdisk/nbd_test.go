package powerdisk

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"testing"

	"github.com/kipass/kipass/internal/testkit"
)

// client speaks the kernel's side.
type client struct {
	t *testing.T
	c net.Conn
}

func request(flags, command uint16, offset uint64, length uint32, data []byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, requestMagic)
	b = binary.BigEndian.AppendUint16(b, flags)
	b = binary.BigEndian.AppendUint16(b, command)
	b = append(b, "cookie00"...)
	b = binary.BigEndian.AppendUint64(b, offset)
	b = binary.BigEndian.AppendUint32(b, length)
	return append(b, data...)
}

func (c client) ask(flags, command uint16, offset uint64, length uint32, data []byte, answer int) (code uint32, got []byte) {
	c.t.Helper()
	_, err := c.c.Write(request(flags, command, offset, length, data))
	testkit.Check(c.t, err)
	b := make([]byte, 16)
	_, err = io.ReadFull(c.c, b)
	testkit.Check(c.t, err)
	if binary.BigEndian.Uint32(b) != replyMagic || string(b[8:]) != "cookie00" {
		c.t.Fatalf("reply begins %x", b)
	}
	if code = binary.BigEndian.Uint32(b[4:]); code == 0 {
		got = make([]byte, answer)
		_, err := io.ReadFull(c.c, got)
		testkit.Check(c.t, err)
	}
	return code, got
}

func TestServe(t *testing.T) {
	here, there := net.Pipe()
	p := newPlatter()
	ended := make(chan error, 1)
	go func() { ended <- New(p, 7, false).Serve(there) }()
	c := client{t, here}
	if code, _ := c.ask(0, cmdWrite, 2*Block, 2*Block, filled('w', 2), 0); code != 0 {
		t.Fatalf("write: %d", code)
	}
	if code, got := c.ask(0, cmdRead, Block, 3*Block, nil, 3*Block); code != 0 || !bytes.Equal(got, append(filled(0, 1), filled('w', 2)...)) {
		t.Fatalf("read: %d", code)
	}
	if code, _ := c.ask(0, cmdFlush, 0, 0, nil, 0); code != 0 || !bytes.Equal(p.data[2*Block:4*Block], filled('w', 2)) {
		t.Fatalf("flush: %d", code)
	}
	if code, _ := c.ask(flagFUA, cmdWrite, 9*Block, Block, filled('f', 1), 0); code != 0 || !bytes.Equal(p.data[9*Block:10*Block], filled('f', 1)) {
		t.Fatalf("write through: %d", code)
	}
	for rule, r := range map[string]struct {
		command uint16
		offset  uint64
		length  uint32
	}{
		"an unknown command": {99, 0, 0}, "an offset within a block": {cmdRead, 100, Block}, "a part of a block": {cmdRead, 0, 100},
		"an offset beyond all disks": {cmdRead, 1 << 60, Block},
	} {
		if code, _ := c.ask(0, r.command, r.offset, r.length, nil, 0); code == 0 {
			t.Errorf("%s was taken", rule)
		}
	}
	_, err := here.Write(request(0, cmdDisc, 0, 0, nil))
	testkit.Check(t, err)
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// stream is a connection made of bytes.
type stream struct {
	io.Reader
	io.Writer
}

func FuzzServe(f *testing.F) {
	f.Add(request(0, cmdRead, 0, Block, nil))
	f.Add(append(request(flagFUA, cmdWrite, Block, Block, filled('w', 1)), request(0, cmdFlush, 0, 0, nil)...))
	f.Add(request(0, cmdDisc, 0, 0, nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) >= 28 && binary.BigEndian.Uint32(b[24:]) > 1<<20 {
			t.Skip("longer than the platter")
		}
		var out bytes.Buffer
		_ = New(&bounded{newPlatter()}, 1, false).Serve(stream{bytes.NewReader(b), &out})
		if out.Len() > 0 && binary.BigEndian.Uint32(out.Bytes()) != replyMagic {
			t.Errorf("a reply begins %x", out.Bytes()[:4])
		}
	})
}

// bounded refuses what lies outside.
type bounded struct{ *platter }

func (p *bounded) ReadAt(b []byte, off int64) (int, error) {
	if off < 0 || off+int64(len(b)) > int64(len(p.data)) {
		return 0, io.ErrUnexpectedEOF
	}
	return p.platter.ReadAt(b, off)
}

func (p *bounded) WriteAt(b []byte, off int64) (int, error) {
	if off < 0 || off+int64(len(b)) > int64(len(p.data)) {
		return 0, io.ErrShortWrite
	}
	return p.platter.WriteAt(b, off)
}
