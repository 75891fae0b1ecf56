package serialscan

// Honeywell's serial commands, spoken by many makers. Sources: CF3680/N3680 decoded engine user guide p. 160 (menu
// syntax, storage characters ! volatile and . flash, queries), N36xx user guide p. 166 (PAPPST, PAPHHF, SCNLED), Xenon
// 1900 user guide p. 11-3 (answers). How it was checked: the bytes against these pages, the dialogue against a simulator
// written from them; not against a device.
//
// A trigger works only in manual trigger mode and gets no answer. The answer to a menu command is the command's text with
// ACK, ENQ (no such setting) or NAK (no such value) before the punctuation mark at its end.
const honeywellMenu = "\x16M\r"

func honeywell() family {
	menu := func(text string) []byte { return []byte(honeywellMenu + text) }
	return family{
		bytes: Commands{
			Identify: menu("SCNLED?."),
			Present:  menu("PAPPST!"),
			Manual:   menu("PAPHHF!"),
			Disable:  menu("PAPHHF!"),
			Trigger:  []byte("\x16T\r"),
			Stop:     []byte("\x16U\r"),
			LightOn:  menu("SCNLED1!"),
			LightOff: menu("SCNLED0!"),
		},
		reply: honeywellReply,
		trail: ".!",
	}
}

// honeywellReply matches the answer to a menu command: its echo, if any, at most 32 bytes of value, the status, and the
// mark at the end if it is there already.
func honeywellReply(sent []byte) matcher {
	if len(sent) <= len(honeywellMenu) || string(sent[:len(honeywellMenu)]) != honeywellMenu {
		return nil
	}
	tag := sent[len(honeywellMenu):]
	if len(tag) > 6 {
		tag = tag[:6]
	}
	const maxValue = 32
	return func(b []byte) (int, verdict) {
		for i, c := range b {
			switch {
			case c == 0x06:
				return i + 1 + mark(b[i+1:]), accepted
			case c == 0x05, c == 0x15:
				return i + 1 + mark(b[i+1:]), refused
			case i < len(tag) && upper(c) != upper(tag[i]), i >= len(tag)+maxValue, c < 0x20:
				return 0, foreign
			}
		}
		return 0, partial
	}
}

// mark returns the length of the punctuation mark at the beginning of b.
func mark(b []byte) int {
	if len(b) > 0 && (b[0] == '.' || b[0] == '!') {
		return 1
	}
	return 0
}

func upper(c byte) byte {
	if 'a' <= c && c <= 'z' {
		c -= 'a' - 'A'
	}
	return c
}
