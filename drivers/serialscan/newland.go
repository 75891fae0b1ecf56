package serialscan

import "bytes"

// Newland's commands. Sources: EM3000 manual p. 36 (? answered by !, settings NLS… answered by ACK or NAK within 500 ms);
// FM530 manual p. 141 (settings as ~ SOH 0000, @ permanent or # volatile, tag, data, semicolon ETX). The form of the newer
// readers' answers, which begin with STX SOH 0000, is from memory. How it was checked: the bytes against these pages, the
// dialogue against a simulator; not against a device.
//
// The settings of the EM3000 are not known to be volatile and trigger bytes of no Newland reader are sourced, so that
// this family sends a sign of life only; give the bytes in the commands for more.
func newland() family {
	return family{bytes: Commands{Identify: []byte("?")}, reply: newlandReply}
}

func newlandReply(sent []byte) matcher {
	switch {
	case string(sent) == "?":
		return exactly([]byte("!"), accepted)
	case bytes.HasPrefix(sent, []byte("NLS")):
		return either(exactly([]byte{0x06}, accepted), exactly([]byte{0x15}, refused))
	case bytes.HasPrefix(sent, []byte("~\x010000")):
		return newlandFrame
	default:
		return nil
	}
}

// newlandFrame matches the answer to a newer reader's setting: its echo with ACK, ENQ or NAK before the end.
func newlandFrame(b []byte) (int, verdict) {
	const head, end, longest = "\x02\x010000", ";\x03", 128
	if len(b) < len(head) {
		if bytes.HasPrefix([]byte(head), b) {
			return 0, partial
		}
		return 0, foreign
	}
	if !bytes.HasPrefix(b, []byte(head)) {
		return 0, foreign
	}
	switch n := bytes.Index(b[:min(len(b), longest)], []byte(end)); {
	case n >= 0 && bytes.IndexByte(b[:n], 0x06) >= 0:
		return n + len(end), accepted
	case n >= 0:
		return n + len(end), refused
	case len(b) >= longest:
		return 0, foreign
	default:
		return 0, partial
	}
}
