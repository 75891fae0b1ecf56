package drivertest

// ssiProtocol is that of a Zebra reader. From the factory it sends codes plainly and reads when its trigger is pulled,
// which nobody does here.
type ssiProtocol struct {
	packeted, handshake bool
	mode                byte // parameter 8A: 0 level, 7 presentation, 8 host
	disabled, triggered bool
	queue               [][]byte // packets without check sum that the host has yet to acknowledge
	replies             int      // answers of more than a yes that the host has yet to acknowledge
	tries               int      // how often the first of them was sent again
}

func (p *ssiProtocol) reset() { *p = ssiProtocol{} }
func (p *ssiProtocol) reads() bool {
	return !p.disabled && len(p.queue) == 0 && (p.mode == 7 || p.mode == 8 && p.triggered)
}
func (p *ssiProtocol) light() bool { return false }

func (p *ssiProtocol) show(s *Simulator, code string) {
	p.triggered = false
	if !p.packeted {
		s.send([]byte(code + "\r"))
		return
	}
	const maxPart = 200
	for len(code) > 0 {
		part := code[:min(maxPart, len(code))]
		code = code[len(part):]
		status := byte(0)
		if code != "" {
			status = 2 // goes on
		}
		p.queue = append(p.queue, append([]byte{byte(5 + len(part)), 0xf3, 0, status, 0x1c}, part...))
	}
	s.state.Unacked = len(p.queue)
	if p.tries = 0; len(p.queue) > 0 {
		p.sendFirst(s)
	}
}

func (p *ssiProtocol) sendFirst(s *Simulator) {
	s.send(summed(s, p.queue[0]))
	if !p.handshake {
		if p.queue = p.queue[1:]; len(p.queue) > 0 {
			p.sendFirst(s)
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

func (p *ssiProtocol) execute(s *Simulator, in []byte) int {
	if in[0] < 4 || len(in) >= 3 && in[2] != 4 {
		return 1
	}
	n := int(in[0]) + 2
	if len(in) < n {
		return 0
	}
	sum := 0
	for _, c := range in[:n-2] {
		sum += int(c)
	}
	if (sum+int(in[n-2])<<8+int(in[n-1]))&0xffff != 0 {
		s.answer(summed(s, []byte{5, 0xd1, 0, 0, 1}))
		return n
	}
	s.state.Commands++
	switch data := in[4 : n-2]; in[1] {
	case 0xd0:
		if p.replies > 0 {
			p.replies--
		} else if len(p.queue) > 0 {
			p.queue, p.tries = p.queue[1:], 0
			if s.state.Unacked = len(p.queue); len(p.queue) > 0 {
				p.sendFirst(s)
			}
		}
		return n
	case 0xd1:
		p.again(s)
		return n
	case 0xa3:
		if p.handshake {
			p.replies++
		}
		s.answer(summed(s, append([]byte{7, 0xa4, 0, 0}, "SIM"...)))
		return n
	case 0xc6:
		if in[3]&8 != 0 {
			s.state.Flashed++
		}
		for i := 1; i+1 < len(data); i += 2 {
			p.set(data[i], data[i+1])
		}
	case 0xe4:
		p.triggered = true
	case 0xe5:
		p.triggered = false
	case 0xe9, 0xea:
		p.disabled = in[1] == 0xea
	default:
		s.answer(summed(s, []byte{5, 0xd1, 0, 0, 2}))
		return n
	}
	s.answer(summed(s, []byte{4, 0xd0, 0, 0}))
	return n
}

func (p *ssiProtocol) set(parameter, value byte) {
	switch parameter {
	case 0x8a:
		p.mode = value
	case 0xee:
		p.packeted = value == 1
	case 0x9f:
		p.handshake = value == 1
	}
}

// again sends the packet refused by the host once more, twice at most.
func (p *ssiProtocol) again(s *Simulator) {
	if len(p.queue) == 0 {
		return
	}
	if p.tries++; p.tries > 2 {
		p.queue, s.state.Unacked = nil, 0
		return
	}
	p.queue[0][3] |= 1
	p.sendFirst(s)
}
