package guest

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/fxamacker/cbor/v2"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/kipass/kipass/firmware/journal"
	"github.com/kipass/kipass/lab/hil/job"
	"github.com/kipass/kipass/protocol/visit"
)

// Place of the gate whose journal is kept.
const (
	Facility visit.Facility = "hall-1"
	Gate     visit.Gate     = "north"
)

const (
	platterDevice = "/dev/ubda"
	served        = "/dev/nbd0"
	journalMount  = "/mnt"
)

// keepJournal opens the journal on the machine's disk, tells how it was found, and journals visits until the machine is
// killed.
func keepJournal(j job.Journal, disk string, facts *job.Encoder) error {
	device := platterDevice
	if j.Disk != job.Plain {
		device = served
		if _, err := startDisk(disk, j.Disk, j.Seed); err != nil {
			return err
		}
	}
	if err := unix.Mount(device, journalMount, "ext4", 0, ""); err != nil {
		return fmt.Errorf("mounting the journal's disk: %w", err)
	}
	key, err := visit.ParseSealPublicKey(j.SealKey)
	if err != nil {
		return err
	}
	kept, err := journal.Open(journal.Options{
		Dir: journalMount + "/journal", Facility: Facility, Gate: Gate, SealKey: key, FreeFloor: 1, EpochLimit: 20 * time.Second,
	})
	if err != nil {
		return err
	}
	opened, id, err := describe(kept, j.Known)
	if err != nil {
		return err
	}
	if err := facts.Encode(job.Fact{Opened: &opened}); err != nil {
		return err
	}
	if j.Idle {
		return leave(kept, facts)
	}
	var work errgroup.Group
	numbers := make(chan uint64)
	work.Go(func() error {
		for n := j.First; ; n++ {
			numbers <- n
		}
	})
	for range max(j.Writers, 1) {
		work.Go(func() error { return appendAll(kept, numbers, facts) })
	}
	if j.Settle > 0 {
		work.Go(func() error { return kept.Settle(visit.Settlement{Journal: id, Through: j.Settle}) })
	}
	return work.Wait()
}

// appendAll journals a visit for each number, and tells of it when, and only when, the append has returned.
func appendAll(kept *journal.Journal, numbers <-chan uint64, facts *job.Encoder) error {
	for n := range numbers {
		seq, err := kept.Append(context.Background(), VisitOf(n, time.Now()))
		if err != nil {
			return err
		}
		if err := facts.Encode(job.Fact{Acked: &job.Acked{Seq: seq, Number: n}}); err != nil {
			return err
		}
		time.Sleep(time.Duration(n%4) * time.Millisecond) // visitors do not come in step
	}
	return nil
}

// leave ends in good order, so that the next opening finds everything.
func leave(kept *journal.Journal, facts *job.Encoder) error {
	if err := kept.Close(); err != nil {
		return err
	}
	if err := unix.Unmount(journalMount, 0); err != nil {
		return fmt.Errorf("unmounting the journal's disk: %w", err)
	}
	return facts.Encode(job.Fact{Done: true})
}

// describe tells how the journal stands and gives what it holds behind the record known.
func describe(kept *journal.Journal, known uint64) (job.Opened, visit.JournalID, error) {
	stats := kept.Stats()
	ledger, err := kept.Ledger()
	if err != nil {
		return job.Opened{}, visit.JournalID{}, err
	}
	o := job.Opened{Head: ledger.Head.Seq, Tail: ledger.Tail.Seq, Damage: stats.Damage, Replaced: len(stats.Replaced)}
	if err := ledger.Check(); err != nil {
		o.Ledger = err.Error()
	}
	news := visit.Segment{Journal: ledger.Journal, Prev: ledger.Pending.Prev, Epochs: ledger.Pending.Epochs}
	for i, r := range ledger.Pending.Records {
		if r.Seq > known {
			news.Records = ledger.Pending.Records[i:]
			break
		}
		news.Prev = news.Prev.Next(r)
	}
	o.Segment, err = cbor.Marshal(news)
	return o, ledger.Journal, err
}

// VisitOf returns the visit with the number: the number is its code.
func VisitOf(number uint64, at time.Time) visit.Visit {
	v := visit.Visit{At: at, Issuer: "naver", Clock: visit.ClockSynced, Skew: 2 * time.Second}
	for i := range v.CTI {
		v.CTI[i] = byte(number >> (i % 7))
	}
	binary.BigEndian.PutUint64(v.CTI[:], number)
	return v
}

// startDisk starts the process that plays the disk and returns when the disk can be used. It is another process because the
// journal maps its file into memory, and a process that waits for a page of its own cannot deliver it.
func startDisk(word string, kind job.Disk, seed uint64) (*exec.Cmd, error) {
	cmd := exec.Command("/proc/self/exe", word, string(kind), strconv.FormatUint(seed, 10))
	cmd.Env = []string{"PATH=" + standardPath}
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("starting the disk: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting the disk: %w", err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return nil, fmt.Errorf("starting the disk: reading its answer: %w", err)
	}
	if line = strings.TrimSpace(line); line != diskReady {
		return nil, fmt.Errorf("starting the disk: %s", line)
	}
	return cmd, nil
}
