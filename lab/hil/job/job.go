// Package job holds what the host and the virtual machine of the hardware tests say to each other: a job on the way in,
// lines of facts on the way out.
package job

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"sync"
)

// Variable is the kernel parameter, which the kernel hands to its init as an environment variable, with the path of the
// job's file.
const Variable = "KIPASS_HIL_JOB"

// Job is what a virtual machine is to do. It ends, and powers off, when that is done.
type Job struct {
	Args    []string // arguments of the guest's test program, for drivers
	Env     []string // added to its environment, as NAME=value
	Console string   // device on which the guest's output leaves, for example /dev/ttyS0
	Journal *Journal // when not nil: journal visits until the machine is killed, and run no tests
}

// Disk says how faithful the journal's disk is.
type Disk string

const (
	Plain    Disk = "plain"    // every write that reached the disk stays; only what the kernel still held is lost
	Volatile Disk = "volatile" // the disk has a cache that is lost, but for a random part of it, unless it was flushed
	Lying    Disk = "lying"    // as Volatile, but a flush does nothing: acknowledged visits are lost, which a check must see
)

// Journal is a job of journalling visits on the machine's first block device.
type Journal struct {
	Disk    Disk
	SealKey []byte // the visit server's public key
	Known   uint64 // newest sequence of which the host has the record; later ones are sent when the journal opens
	Settle  uint64 // sequence up to which the journal is told, while it is written to, that the server has the records
	Writers int    // how many append at once
	First   uint64 // number of the first visit; numbers rise by one with each
	Idle    bool   // only open, send what there is, and power off
	Seed    uint64 // of the disk's choice of what survives
}

// Read reads a job's file.
func Read(path string) (Job, error) {
	var j Job
	b, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(b, &j)
	}
	if err != nil {
		return Job{}, fmt.Errorf("reading the job of a virtual machine: %w", err)
	}
	return j, nil
}

// Write writes a job's file.
func (j Job) Write(path string) error {
	b, err := json.Marshal(j)
	if err == nil {
		err = os.WriteFile(path, b, 0o600)
	}
	if err != nil {
		return fmt.Errorf("writing the job of a virtual machine: %w", err)
	}
	return nil
}

// Fact is one line of what a virtual machine tells. The fields that are set say what it is.
type Fact struct {
	Name    string  `json:",omitempty"` // a measured figure
	Value   float64 `json:",omitempty"`
	Opened  *Opened `json:",omitempty"` // the journal was opened
	Acked   *Acked  `json:",omitempty"` // an append returned
	Done    bool    `json:",omitempty"` // the job came to its end, with Exit
	Exit    int     `json:",omitempty"`
	Failure string  `json:",omitempty"` // why the machine could not do its job
}

// Opened is how the journal was found.
type Opened struct {
	Head     uint64
	Tail     uint64
	Damage   string
	Replaced int
	Segment  []byte // CBOR of the visit.Segment of what lies behind Journal.Known
	Ledger   string // what Ledger.Check says, empty if all is well
}

// Acked is one visit's number and the sequence it was acknowledged with.
type Acked struct{ Seq, Number uint64 }

// mark begins a line of facts among the other lines of the guest's output.
var mark = []byte("@kipass ")

// Encoder writes facts, one a line. It is safe for concurrent use.
type Encoder struct {
	mu  sync.Mutex
	out io.Writer
}

// NewEncoder returns an encoder to out.
func NewEncoder(out io.Writer) *Encoder { return &Encoder{out: out} }

// Encode writes one fact.
func (e *Encoder) Encode(f Fact) error {
	b, err := json.Marshal(f)
	if err != nil {
		return fmt.Errorf("encoding a fact: %w", err)
	}
	line := append(append(bytes.Clone(mark), b...), '\n')
	e.mu.Lock()
	defer e.mu.Unlock()
	if _, err := e.out.Write(line); err != nil {
		return fmt.Errorf("writing a fact: %w", err)
	}
	return nil
}

// ParseFact reads a line. Lines that are no facts, torn ones included, give false: a machine may be killed in the middle
// of one.
func ParseFact(line []byte) (Fact, bool) {
	rest, ok := bytes.CutPrefix(bytes.TrimRight(line, "\r\n"), mark)
	if !ok {
		return Fact{}, false
	}
	var f Fact
	if err := json.Unmarshal(rest, &f); err != nil {
		return Fact{}, false
	}
	return f, true
}
