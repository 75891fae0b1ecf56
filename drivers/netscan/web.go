package netscan

import (
	"bytes"
	"encoding/binary"
	"strings"
)

// A web page can have the browser connect to any port of the device it runs on, and send what the page likes – after what the
// browser puts before it. That is how what a scan service sends is told from what a page does. It begins with the request line of
// HTTP/1 or the preface of HTTP/2 (RFC 9112 section 3, RFC 9113 section 3.4; a WebSocket begins with the former), a TLS or DTLS
// ClientHello (RFC 8446 section 5.1, RFC 9147 section 5), STUN, which WebRTC sends first (RFC 8489 section 5, over TCP framed by
// RFC 4571), or the long header of QUIC (RFC 9000 section 17.2).

// verdict is what the first bytes of a connection or a datagram say of who sends.
type verdict uint8

const (
	scans verdict = iota // no browser
	open                 // not known before more bytes come
	browses
)

const (
	maxFirst  = 8 << 10 // bytes in which it has to become known who sends
	maxMethod = 32      // of a request; the longest registered one has 16
)

// judge says what the first bytes say. What it once said other than open stands, whatever comes after.
func judge(first []byte) verdict {
	found := scans
	for _, judge := range []func([]byte) verdict{judgeHTTP, judgeTLS, judgeSTUN, judgeQUIC} {
		found = max(found, judge(first))
	}
	if found == open && len(first) > maxFirst {
		return scans
	}
	return found
}

// judgeHTTP looks for a request line: a method, a target, and the protocol's name. No scanner sends one, but what somebody
// shows to a scanner may well begin like one, so it counts only when it is whole – or longer than any text a scanner sends.
func judgeHTTP(first []byte) verdict {
	text := bytes.TrimLeft(first, "\r\n") // RFC 9112 section 2.2
	line := text
	end := bytes.IndexFunc(text, func(c rune) bool { return c < ' ' })
	if end >= 0 {
		line = text[:end]
	}
	method, rest, spaced := bytes.Cut(line, []byte(" "))
	switch {
	case len(method) > maxMethod || bytes.ContainsFunc(method, noToken) || spaced && len(method) == 0:
		return scans
	case end >= 0 && (text[end] == '\r' || text[end] == '\n') && spaced && namesHTTP(rest):
		return browses
	case len(line) > maxFirst && targeted(rest):
		return browses
	case end >= 0:
		return scans
	}
	return open
}

// noToken tells whether c stands in no token, as a method is one (RFC 9110 section 5.6.2).
func noToken(c rune) bool {
	return !(c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || strings.ContainsRune("!#$%&'*+-.^_`|~", c))
}

// namesHTTP tells whether what follows a method ends with the protocol's name and version.
func namesHTTP(rest []byte) bool {
	const name, length = " HTTP/", len(" HTTP/1.1")
	if len(rest) <= length {
		return false
	}
	version := rest[len(rest)-length:]
	return string(version[:len(name)]) == name && digit(version[len(name)]) && version[len(name)+1] == '.' && digit(version[len(name)+2])
}

func digit(c byte) bool { return c >= '0' && c <= '9' }

// targeted tells whether what follows a method begins as a target does that can be long: a path, or an address for a proxy.
func targeted(rest []byte) bool {
	return bytes.HasPrefix(rest, []byte("/")) || bytes.HasPrefix(bytes.ToLower(rest[:min(len(rest), 4)]), []byte("http"))
}

func judgeTLS(first []byte) verdict {
	const handshake, tls, dtls = 0x16, 0x03, 0xfe
	switch {
	case len(first) == 0:
		return open
	case first[0] != handshake:
		return scans
	case len(first) < 2:
		return open
	case first[1] == tls || first[1] == dtls:
		return browses
	}
	return scans
}

// judgeSTUN looks for a STUN message, over TCP behind the two bytes of its length.
func judgeSTUN(first []byte) verdict {
	const length = 2
	return max(judgeMessage(first), judgeMessage(first[min(len(first), length):]))
}

func judgeMessage(b []byte) verdict {
	const cookie, size = 0x2112a442, 8
	switch {
	case len(b) > 0 && b[0] > 0x3f: // the first two bits of its type are 0
		return scans
	case len(b) < size && bytes.HasPrefix(binary.BigEndian.AppendUint32(nil, cookie), b[min(len(b), 4):]):
		return open
	case len(b) >= size && binary.BigEndian.Uint32(b[4:]) == cookie:
		return browses
	}
	return scans
}

func judgeQUIC(first []byte) verdict {
	const long, v1, v2, size = 0xc0, 1, 0x6b3343cf, 5
	switch {
	case len(first) > 0 && first[0]&long != long:
		return scans
	case len(first) < size:
		return open
	}
	if version := binary.BigEndian.Uint32(first[1:]); version == v1 || version == v2 {
		return browses
	}
	return scans
}
