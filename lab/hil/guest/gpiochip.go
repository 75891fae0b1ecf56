package guest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

const gpioSims = "/sys/kernel/config/gpio-sim"

// Chip is a simulated GPIO chip (Documentation/admin-guide/gpio/gpio-sim.rst) whose lines can be looked at from outside,
// as with a meter.
type Chip struct {
	dir   string
	lines []string
	live  bool
}

// NewChip makes a chip with lines of these names and lets the kernel find it.
func NewChip(name string, lines ...string) (*Chip, error) {
	c := &Chip{dir: filepath.Join(gpioSims, name), lines: lines}
	attributes := []attribute{{"bank0/num_lines", strconv.Itoa(len(lines))}, {"bank0/label", name}}
	for i, line := range lines {
		attributes = append(attributes, attribute{fmt.Sprintf("bank0/line%d/name", i), line})
	}
	if err := configure(c.dir, attributes); err != nil {
		return nil, fmt.Errorf("making a GPIO chip: %w", err)
	}
	return c, c.Plug()
}

// Plug lets the kernel find the chip.
func (c *Chip) Plug() error {
	if c.live {
		return nil
	}
	if err := os.WriteFile(filepath.Join(c.dir, "live"), []byte("1"), 0o644); err != nil {
		return fmt.Errorf("plugging a GPIO chip in: %w", err)
	}
	c.live = true
	chip, err := c.attribute("bank0/chip_name")
	if err != nil {
		return err
	}
	return await("/dev/"+chip, func() (bool, error) { _, err := os.Stat("/dev/" + chip); return err == nil, nil })
}

// Unplug takes the chip away, whoever uses its lines.
func (c *Chip) Unplug() error {
	if !c.live {
		return nil
	}
	if err := os.WriteFile(filepath.Join(c.dir, "live"), []byte("0"), 0o644); err != nil {
		return fmt.Errorf("unplugging a GPIO chip: %w", err)
	}
	c.live = false
	return nil
}

// Close takes the chip away for good.
func (c *Chip) Close() error {
	err := c.Unplug()
	for i := range c.lines {
		err = errors.Join(err, os.Remove(filepath.Join(c.dir, fmt.Sprintf("bank0/line%d", i))))
	}
	return errors.Join(err, os.Remove(filepath.Join(c.dir, "bank0")), os.Remove(c.dir))
}

func (c *Chip) attribute(name string) (string, error) {
	b, err := os.ReadFile(filepath.Join(c.dir, name))
	return strings.TrimSpace(string(b)), err
}

// meters opens each line for looking at its level.
func (c *Chip) meters() (map[string]*os.File, error) {
	device, err := c.attribute("dev_name")
	if err != nil {
		return nil, err
	}
	chip, err := c.attribute("bank0/chip_name")
	if err != nil {
		return nil, err
	}
	m := map[string]*os.File{}
	for i, line := range c.lines {
		if m[line], err = os.Open(fmt.Sprintf("/sys/devices/platform/%s/%s/sim_gpio%d/value", device, chip, i)); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// Pulse is a time for which a line was high: it was not yet in the look before From, and no longer at To.
type Pulse struct {
	Line         string
	Before, From time.Time
	LastSeen, To time.Time
}

// Shortest and Longest return between which times it lasted.
func (p Pulse) Shortest() time.Duration { return p.LastSeen.Sub(p.From) }

// Longest is explained at Shortest.
func (p Pulse) Longest() time.Duration { return p.To.Sub(p.Before) }

// lookEvery is short beside every pulse. The machine's clock stands still meanwhile, so that none is missed.
const lookEvery = time.Millisecond

// Scope records what becomes of a chip's lines, once each lookEvery.
type Scope struct {
	stop  chan struct{}
	ended chan error

	mu     sync.Mutex
	looked time.Time        // the last time
	high   map[string]Pulse // of the lines that are high
	pulses []Pulse          // over, in the order of their ends
}

// Watch begins to record.
func (c *Chip) Watch() (*Scope, error) {
	meters, err := c.meters()
	if err != nil {
		return nil, err
	}
	s := &Scope{stop: make(chan struct{}), ended: make(chan error, 1), looked: time.Now(), high: map[string]Pulse{}}
	if err := s.sample(meters); err != nil {
		return nil, err
	}
	go func() { s.ended <- s.record(meters) }()
	return s, nil
}

func (s *Scope) record(meters map[string]*os.File) (err error) {
	defer func() {
		for _, m := range meters {
			err = errors.Join(err, m.Close())
		}
	}()
	for {
		select {
		case <-s.stop:
			return nil
		case <-time.After(lookEvery):
		}
		if err := s.sample(meters); err != nil {
			return err
		}
	}
}

func (s *Scope) sample(meters map[string]*os.File) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	began := time.Now()
	var b [1]byte
	for line, m := range meters {
		if _, err := m.ReadAt(b[:], 0); err != nil {
			return fmt.Errorf("looking at line %s: %w", line, err)
		}
		now := time.Now()
		p, high := s.high[line]
		switch {
		case b[0] == '1' && !high:
			s.high[line] = Pulse{Line: line, Before: s.looked, From: now, LastSeen: began}
		case b[0] == '1':
			p.LastSeen = began
			s.high[line] = p
		case high:
			p.To = now
			s.pulses = append(s.pulses, p)
			delete(s.high, line)
		}
	}
	s.looked = began
	return nil
}

// High returns whether a line is high.
func (s *Scope) High(line string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, high := s.high[line]
	return high
}

// Pulses returns the pulses of a line that are over.
func (s *Scope) Pulses(line string) (of []Pulse) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.pulses {
		if p.Line == line {
			of = append(of, p)
		}
	}
	return of
}

// Close ends the recording.
func (s *Scope) Close() error {
	close(s.stop)
	return <-s.ended
}
