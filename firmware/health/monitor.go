package health

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kipass/kipass/firmware/clock"
	"github.com/kipass/kipass/firmware/journal"
	"github.com/kipass/kipass/protocol/day"
	"github.com/kipass/kipass/protocol/visit"
)

// Journal is the gate's journal as a monitor sees it.
type Journal interface {
	Stats() journal.Stats
	Probe() error // tries what an append does, but for the record
}

// Clock is the gate's clock as a monitor sees it.
type Clock interface {
	Read() clock.Reading
}

// Trust is the gate's trust list as a monitor sees it.
type Trust interface {
	Version() uint64 // 0 for none
	Stale(now time.Time) bool
}

// Monitor keeps a board true to journal, clock and trust list, which note no faults of their own. All its exported fields
// but Every must be set before it is used.
type Monitor struct {
	Board   *Board
	Journal Journal
	Clock   Clock
	Trust   Trust
	Every   time.Duration // how often Run looks, default two seconds

	probe chan error // of the probe under way, which the disk has not answered yet; nil if there is none
}

const (
	lookEvery  = 2 * time.Second
	probeLimit = time.Second // what a probe may take; a disk that takes longer is one that stalls
	lateAfter  = time.Hour   // past its end, what is kept is overdue: the journal ends what is due every ten minutes
)

// Run looks every so often until ctx ends. A probe that a stalled disk does not let go is then waited for.
func (m *Monitor) Run(ctx context.Context) {
	defer func() {
		if m.probe != nil {
			<-m.probe
		}
	}()
	tick := time.NewTicker(cmp.Or(m.Every, lookEvery))
	defer tick.Stop()
	for {
		m.Look()
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// Look brings the board up to date once.
func (m *Monitor) Look() {
	at := m.Clock.Read()
	untrusted := at.State == visit.ClockUntrusted
	m.Board.set(ClockUntrusted, untrusted, at.Doubt)
	m.Board.set(ClockDoubted, !untrusted && at.Doubt != "", at.Doubt)
	m.Board.set(TrustStale, m.Trust.Version() > 0 && m.Trust.Stale(at.Now), "")
	stats := m.Journal.Stats()
	m.Board.set(JournalFull, stats.Full != nil, text(stats.Full))
	replaced := strings.Join(slices.Concat([]string{stats.Damage}, stats.Replaced), " ")
	m.Board.set(JournalReplaced, replaced != "", replaced)
	m.Board.set(Quarantined, stats.Quarantined > 0, strconv.FormatUint(stats.Quarantined, 10))
	m.Board.set(Undelivered, stats.Destroyed > 0, strconv.FormatUint(stats.Destroyed, 10))
	m.Board.set(Overdue, stats.Overdue(at.Passed()) > lateAfter, overdue(stats, at))
	m.recover(stats)
}

// overdue says what is kept too long, and why as far as it is known, in words that stay the same while that does.
func overdue(stats journal.Stats, at clock.Reading) string {
	var words []string
	if stats.Term.What != "" && at.Passed().Sub(stats.Term.Due) > lateAfter {
		words = append(words, fmt.Sprintf("%s since %s", stats.Term.What, stats.Term.Due.In(day.Seoul()).Format(time.DateTime)))
		if !at.Confirmed {
			words = append(words, "no second source confirms the time")
		}
	} else {
		words = append(words, "records that have left it are still in the file")
	}
	if stats.Ending != nil {
		words = append(words, stats.Ending.Error())
	}
	return strings.Join(words, "; ")
}

// recover finds out whether a journal that has failed works again. No visitor would: they use the paper register meanwhile.
func (m *Monitor) recover(stats journal.Stats) {
	switch {
	case stats.Full != nil: // says it all
		m.Board.Clear(JournalFailed, "")
	case m.probe != nil || stats.Failed != nil || slices.Contains(m.Board.Codes(), JournalFailed):
		m.try()
	}
}

// try probes the journal, or goes on waiting for the probe under way: one at a time, because the disk may never answer.
func (m *Monitor) try() {
	if m.probe == nil {
		m.probe = make(chan error, 1)
		go func(answer chan<- error) { answer <- m.Journal.Probe() }(m.probe)
	}
	limit := time.NewTimer(probeLimit)
	defer limit.Stop()
	select {
	case err := <-m.probe:
		m.probe = nil
		m.Board.set(JournalFailed, err != nil, text(err))
	case <-limit.C:
		m.Board.Set(JournalFailed, "", "the disk does not answer")
	}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
