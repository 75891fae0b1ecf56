package drivertest

// ssiBrain is a Zebra reader. From the factory it sends codes plainly and reads when its trigger is pulled, which nobody
// does here.
type ssiBrain struct {
	packeted, handshake bool
	mode                byte // parameter 8A: 0 level, 7 presentation, 8 host
	disabled, triggered bool
	queue               [][]byte // packets without check sum that the host has yet to acknowledge
	replies             int      // answers of more than a yes that the host has yet to acknowledge
	tries               int      // how often the first of them was sent again
}

func (b *ssiBrain) reset() { *b = ssiBrain{} }
func (b *ssiBrain) reads() bool {
	return !b.disabled && len(b.queue) == 0 && (b.mode == 7 || b.mode == 8 && b.triggered)
}
func (b *ssiBrain) light() bool { return false }

func (b *ssiBrain) show(s *Simulator, code string) {
	b.triggered = false
	if !b.packeted {
		s.send([]byte(code + "\r"))
		return
	}
	const room = 200
	for len(code) > 0 {
		part := code[:min(room, len(code))]
		code = code[len(part):]
		status := byte(0)
		if code != "" {
			status = 2 // goes on
		}
		b.queue = append(b.queue, append([]byte{byte(5 + len(part)), 0xf3, 0, status, 0x1c}, part...))
	}
	s.state.Unacked = len(b.queue)
	if b.tries = 0; len(b.queue) > 0 {
		b.sendFirst(s)
	}
}

func (b *ssiBrain) sendFirst(s *Simulator) {
	s.send(summed(s, b.queue[0]))
	if !b.handshake {
		if b.queue = b.queue[1:]; len(b.queue) > 0 {
			b.sendFirst(s)
		}
		s.state.Unacked = 0
	}
}

// summed returns a packet with its check sum.
func summed(s *Simulator, body []byte) []byte {
	sum := 0
	for _, c := range body {
		sum += int(c)
	}
	sum = 0x10000 - sum
	if s.wrongSum() {
		sum++
	}
	return append(append([]byte(nil), body...), byte(sum>>8), byte(sum))
}

func (b *ssiBrain) hear(s *Simulator, p []byte) int {
	if p[0] < 4 || len(p) >= 3 && p[2] != 4 {
		return 1
	}
	n := int(p[0]) + 2
	if len(p) < n {
		return 0
	}
	sum := 0
	for _, c := range p[:n-2] {
		sum += int(c)
	}
	if (sum+int(p[n-2])<<8+int(p[n-1]))&0xffff != 0 {
		s.answer(summed(s, []byte{5, 0xd1, 0, 0, 1}))
		return n
	}
	s.state.Commands++
	switch data := p[4 : n-2]; p[1] {
	case 0xd0:
		if b.replies > 0 {
			b.replies--
		} else if len(b.queue) > 0 {
			b.queue, b.tries = b.queue[1:], 0
			if s.state.Unacked = len(b.queue); len(b.queue) > 0 {
				b.sendFirst(s)
			}
		}
		return n
	case 0xd1:
		b.again(s)
		return n
	case 0xa3:
		if b.handshake {
			b.replies++
		}
		s.answer(summed(s, append([]byte{7, 0xa4, 0, 0}, "SIM"...)))
		return n
	case 0xc6:
		if p[3]&8 != 0 {
			s.state.Flashed++
		}
		for i := 1; i+1 < len(data); i += 2 {
			b.set(data[i], data[i+1])
		}
	case 0xe4:
		b.triggered = true
	case 0xe5:
		b.triggered = false
	case 0xe9, 0xea:
		b.disabled = p[1] == 0xea
	default:
		s.answer(summed(s, []byte{5, 0xd1, 0, 0, 2}))
		return n
	}
	s.answer(summed(s, []byte{4, 0xd0, 0, 0}))
	return n
}

func (b *ssiBrain) set(parameter, value byte) {
	switch parameter {
	case 0x8a:
		b.mode = value
	case 0xee:
		b.packeted = value == 1
	case 0x9f:
		b.handshake = value == 1
	}
}

// again sends the packet refused by the host once more, twice at most.
func (b *ssiBrain) again(s *Simulator) {
	if len(b.queue) == 0 {
		return
	}
	if b.tries++; b.tries > 2 {
		b.queue, s.state.Unacked = nil, 0
		return
	}
	b.queue[0][3] |= 1
	b.sendFirst(s)
}
