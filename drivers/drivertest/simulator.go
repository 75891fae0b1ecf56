package drivertest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"
)

// Vices are the bad habits of a simulated reader.
type Vices struct {
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
	line  *Pty
	brain brain

	mu      sync.Mutex
	vices   Vices
	state   State
	sent    int
	held    []byte
	out     [][]byte
	changed chan struct{} // closed and replaced whenever something happened
	closed  bool
	done    sync.WaitGroup
}

// brain is what differs between families. Its methods are called under the simulator's lock.
type brain interface {
	reset() // volatile settings are lost
	// hear takes a command from the beginning of b and returns its length, 0 for one that is not complete.
	hear(s *Simulator, b []byte) int
	reads() bool // a code would be read
	light() bool
	show(s *Simulator, code string) // a code is read
}

var brains = map[string]func() brain{
	"generic":   func() brain { return &plainBrain{} },
	"honeywell": func() brain { return &honeywellBrain{} },
	"zebra-ssi": func() brain { return &ssiBrain{} },
	"grow":      func() brain { return &growBrain{} },
	"newland":   func() brain { return &plainBrain{newland: true} },
	"datalogic": func() brain { return &plainBrain{datalogic: true} },
}

// Simulate starts a reader of the model given, as it comes from the factory, at the device's end of the line. The caller
// closes it.
func Simulate(line *Pty, model string, v Vices) (*Simulator, error) {
	newBrain, ok := brains[model]
	if !ok {
		return nil, fmt.Errorf("no simulator of model %q", model)
	}
	s := &Simulator{line: line, brain: newBrain(), vices: v, changed: make(chan struct{})}
	s.brain.reset()
	s.done.Add(2)
	go s.listen()
	go s.speak()
	return s, nil
}

// Close stops the reader and unplugs the line.
func (s *Simulator) Close() error {
	s.mu.Lock()
	s.closed = true
	s.happened()
	s.mu.Unlock()
	err := s.line.Close()
	s.done.Wait()
	return err
}

// Scan holds a code before the reader. It tells whether it was read.
func (s *Simulator) Scan(code string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.brain.reads() {
		return false
	}
	s.brain.show(s, code)
	s.happened()
	return true
}

// FactoryReset makes the reader forget its volatile settings, as after a brown-out or a set-up code held before it.
func (s *Simulator) FactoryReset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.brain.reset()
	s.happened()
}

// SetVices changes the reader's habits.
func (s *Simulator) SetVices(v Vices) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.vices = v
	s.happened()
}

// State returns what can be seen of the reader now.
func (s *Simulator) State() State {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now()
}

func (s *Simulator) now() State {
	st := s.state
	st.Reads, st.Light = s.brain.reads(), s.brain.light()
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

func (s *Simulator) happened() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// answer sends what a command is answered with.
func (s *Simulator) answer(b []byte) {
	if s.vices.GlueAnswers {
		s.held = append(s.held, b...)
		s.state.Held++
		return
	}
	s.send(b)
}

// send puts a message on the line, together with the answers held back.
func (s *Simulator) send(b []byte) {
	s.sent++
	if n := s.vices.LoseByte; n > 0 && s.sent%n == 0 {
		b = append(bytes.Clone(b[:len(b)/2]), b[len(b)/2+1:]...)
	}
	b = append(s.held, b...)
	s.held, s.state.Held = nil, 0
	s.out = append(s.out, b)
	s.happened()
}

// wrongSum tells whether the next check sum is to be wrong.
func (s *Simulator) wrongSum() bool {
	if s.vices.WrongSums == 0 {
		return false
	}
	s.vices.WrongSums--
	return true
}

// listen reads commands until the simulator is closed.
func (s *Simulator) listen() {
	defer s.done.Done()
	var heard []byte
	buf := make([]byte, 512)
	for {
		n, err := s.line.Read(buf)
		s.mu.Lock()
		if s.closed {
			s.mu.Unlock()
			return
		}
		if err != nil {
			if errors.Is(err, os.ErrClosed) { // unplugged: without power nothing volatile stays
				s.brain.reset()
				s.held, s.out, s.state.Held, s.state.Unacked, heard = nil, nil, 0, 0, nil
				s.happened()
			}
			s.mu.Unlock()
			time.Sleep(time.Millisecond)
			continue
		}
		if s.vices.Mute {
			n = 0
		}
		heard = append(heard, buf[:n]...)
		for len(heard) > 0 {
			n := s.brain.hear(s, heard)
			if n == 0 {
				break
			}
			heard = heard[n:]
		}
		s.happened()
		s.mu.Unlock()
	}
}

// speak writes messages at the line's pace until the simulator is closed.
func (s *Simulator) speak() {
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
		message, baud := s.out[0], s.vices.Baud
		s.out = s.out[1:]
		s.mu.Unlock()
		if baud == 0 {
			// A write fails only when the line is being unplugged; what was on its way is lost then.
			_, _ = s.line.Write(message)
			continue
		}
		const bitsPerByte = 10
		pace := time.NewTicker(time.Second * bitsPerByte / time.Duration(baud))
		for i := range message {
			<-pace.C
			_, _ = s.line.Write(message[i : i+1])
		}
		pace.Stop()
	}
}
