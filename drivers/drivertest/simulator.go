package drivertest

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"sync"
	"time"
)

// Faults are what goes wrong in a simulated reader or on its line.
type Faults struct {
	GlueAnswers bool // answers wait for the next code and leave in one piece with it
	LoseByte    int  // every n-th message to the host loses a byte in its middle; 0 never
	WrongSums   int  // how many packets, or answers with a check sum, carry a wrong one
	Mute        bool // commands are neither obeyed nor answered
	Baud        int  // bytes leave one by one at this speed in bit/s; 0 at once
}

// State is what can be seen of a simulated reader.
type State struct {
	Reads    bool // a code held before it now would be read
	Light    bool
	Commands int // understood since the start
	Held     int // answers that wait for a code
	Unacked  int // messages that the host has yet to acknowledge
	Flashed  int // commands that wear out the flash memory: there should be none
}

// Simulator plays the reader's side of a line. It is safe for concurrent use.
type Simulator struct {
	line     *Pty
	protocol protocol

	mu       sync.Mutex
	faults   Faults
	state    State
	sent     int
	power    *os.File // the plugging-in of the line that received, held and out belong to
	received []byte   // the beginning of a command
	held     []byte   // answers that wait for a code
	out      [][]byte
	changed  chan struct{} // closed and replaced whenever something happened
	closed   bool
	done     sync.WaitGroup
}

// protocol is what differs between families. Its methods are called under the simulator's lock.
type protocol interface {
	reset() // volatile settings are lost
	// execute carries out a command from the beginning of b and returns its length, 0 for one that is not complete.
	execute(s *Simulator, b []byte) int
	reads() bool // a code would be read
	light() bool
	show(s *Simulator, code string) // a code is read
}

var protocols = map[string]func() protocol{
	"generic":   func() protocol { return &plainProtocol{} },
	"honeywell": func() protocol { return &honeywellProtocol{} },
	"zebra-ssi": func() protocol { return &ssiProtocol{} },
	"grow":      func() protocol { return &growProtocol{} },
	"newland":   func() protocol { return &plainProtocol{newland: true} },
	"datalogic": func() protocol { return &plainProtocol{datalogic: true} },
}

// Simulate starts a reader of the model given, as it comes from the factory, at the device's end of the line. The caller
// closes it.
func Simulate(line *Pty, model string, faults Faults) (*Simulator, error) {
	newProtocol, ok := protocols[model]
	if !ok {
		return nil, fmt.Errorf("no simulator of model %q", model)
	}
	s := &Simulator{line: line, protocol: newProtocol(), faults: faults, power: line.plugged(), changed: make(chan struct{})}
	s.protocol.reset()
	s.done.Add(2)
	go s.receive()
	go s.transmit()
	return s, nil
}

// Close stops the reader and unplugs the line.
func (s *Simulator) Close() error {
	s.mu.Lock()
	s.closed = true
	s.notify()
	s.mu.Unlock()
	err := s.line.Close()
	s.done.Wait()
	return err
}

// Scan holds a code before the reader. It tells whether it was read.
func (s *Simulator) Scan(code string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.feel()
	if !s.protocol.reads() {
		return false
	}
	s.protocol.show(s, code)
	s.notify()
	return true
}

// FactoryReset makes the reader forget its volatile settings, as after a brown-out or a set-up code held before it.
func (s *Simulator) FactoryReset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.protocol.reset()
	s.notify()
}

// SetFaults changes what goes wrong.
func (s *Simulator) SetFaults(faults Faults) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = faults
	s.notify()
}

// State returns what can be seen of the reader now.
func (s *Simulator) State() State {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now()
}

func (s *Simulator) now() State {
	s.feel()
	st := s.state
	st.Reads, st.Light = s.protocol.reads(), s.protocol.light()
	return st
}

// Await waits until the state is as wished.
func (s *Simulator) Await(ctx context.Context, wish func(State) bool) error {
	for {
		s.mu.Lock()
		st, changed := s.now(), s.changed
		s.mu.Unlock()
		if wish(st) {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("the simulated reader stays at %+v: %w", st, ctx.Err())
		}
	}
}

// feel returns the plugging-in of the line. When it is another than before, the reader was without power, and nothing that
// is volatile has stayed.
func (s *Simulator) feel() *os.File {
	if power := s.line.plugged(); power != s.power {
		s.power = power
		s.protocol.reset()
		s.received, s.held, s.out, s.state.Held, s.state.Unacked = nil, nil, nil, 0, 0
		s.notify()
	}
	return s.power
}

func (s *Simulator) notify() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// answer sends what a command is answered with.
func (s *Simulator) answer(b []byte) {
	if s.faults.GlueAnswers {
		s.held = append(s.held, b...)
		s.state.Held++
		return
	}
	s.send(b)
}

// send puts a message on the line, together with the answers held back.
func (s *Simulator) send(b []byte) {
	s.sent++
	if n := s.faults.LoseByte; n > 0 && s.sent%n == 0 {
		b = append(bytes.Clone(b[:len(b)/2]), b[len(b)/2+1:]...)
	}
	b = append(s.held, b...)
	s.held, s.state.Held = nil, 0
	s.out = append(s.out, b)
	s.notify()
}

// wrongSum tells whether the next check sum is to be wrong.
func (s *Simulator) wrongSum() bool {
	if s.faults.WrongSums == 0 {
		return false
	}
	s.faults.WrongSums--
	return true
}

// receive reads commands until the simulator is closed.
func (s *Simulator) receive() {
	defer s.done.Done()
	buf := make([]byte, 512)
	for {
		power := s.line.plugged()
		n, err := s.line.readFrom(power, buf)
		s.mu.Lock()
		if s.closed {
			s.mu.Unlock()
			return
		}
		if err != nil || power != s.feel() {
			s.mu.Unlock()
			time.Sleep(time.Millisecond)
			continue
		}
		if s.faults.Mute {
			n = 0
		}
		s.received = append(s.received, buf[:n]...)
		for len(s.received) > 0 {
			n := s.protocol.execute(s, s.received)
			if n == 0 {
				break
			}
			s.received = s.received[n:]
		}
		s.notify()
		s.mu.Unlock()
	}
}

// transmit writes messages at the line's pace until the simulator is closed.
func (s *Simulator) transmit() {
	defer s.done.Done()
	for {
		s.mu.Lock()
		for len(s.out) == 0 && !s.closed {
			changed := s.changed
			s.mu.Unlock()
			<-changed
			s.mu.Lock()
		}
		if s.closed {
			s.mu.Unlock()
			return
		}
		message, power, baud := s.out[0], s.power, s.faults.Baud
		s.out = s.out[1:]
		s.mu.Unlock()
		if baud == 0 {
			// A write fails only when the line is being unplugged; what was on its way is lost then.
			_, _ = s.line.writeTo(power, message)
			continue
		}
		const bitsPerByte = 10
		pace := time.NewTicker(time.Second * bitsPerByte / time.Duration(baud))
		for i := range message {
			<-pace.C
			_, _ = s.line.writeTo(power, message[i:i+1])
		}
		pace.Stop()
	}
}
