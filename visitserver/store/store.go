// Package store is the contract between the visit server and what keeps its data: rows of visits by day, which a store
// sees as ciphertext under a blind index only, and a small register of named values. Package storetest holds the suite
// that every implementation passes.
//
// The unit of a visit's identity is (facility, day, blind index): whatever arrives twice under it is one visit, however
// often, in whatever order and from however many callers at once. The unit of partitioning and destruction is the day.
package store

import (
	"context"
	"errors"
	"iter"
	"time"

	"github.com/kipass/kipass/protocol/day"
	"github.com/kipass/kipass/protocol/visit"
)

var (
	// ErrRetired is returned when rows are put into a day that has been retired.
	ErrRetired = errors.New("day of visit is retired")
	// ErrNotFound is returned for a name the register does not hold.
	ErrNotFound = errors.New("not in the register")
	// ErrConflict is returned when a register value is not what the change expects; nothing was changed.
	ErrConflict = errors.New("register has changed meanwhile")
	// ErrDamaged is wrapped by errors about what is kept of a day and cannot be read. Others are not touched by it.
	ErrDamaged = errors.New("a day's visits are damaged")
)

// Blind is the blind index of a code on one day: a keyed digest that tells whether two codes are the same and nothing more.
type Blind [16]byte

// Row is one visit as it is stored.
type Row struct {
	At     time.Time // when it is placed; whole milliseconds
	Blind  Blind
	Gate   visit.Gate
	Sealed []byte // ciphertext under the day's key, at most MaxSealed
}

// MaxSealed is the longest ciphertext of a row in bytes.
const MaxSealed = 512

// Count is how many visits a gate took in one hour of a day.
type Count struct {
	Gate visit.Gate
	Hour int // 0 to 23, Asia/Seoul
	N    uint64
}

// Tally sums a whole day up. Digest is SHA-256 over the day's counts, written as lines "facility gate hour n\n" with n
// in decimal, sorted by facility, gate and hour: it binds the counts that stay to the rows that go.
type Tally struct {
	Day       day.Day
	Visits    uint64
	Digest    [32]byte
	Uncounted bool // the day was damaged: what could be read of its counts is in the tally
}

// Visits keeps rows by day. All methods are safe for concurrent use.
type Visits interface {
	// Put stores the rows of one facility and day and returns how many of them were new: a row whose identity is already
	// stored is left as it was first put. What account, which may be nil, has changed in the register is changed with the
	// rows, together or not at all. On return everything given is durable, whoever put it. Errors wrap [ErrRetired], or
	// [ErrConflict] where a value of the register is not the expected one.
	Put(ctx context.Context, f visit.Facility, d day.Day, rows []Row, account Account) (fresh int, err error)
	// Window yields the rows of one facility and day with from ≤ At < to, ascending by At. Where rows that were stored may not
	// be there any more, those that can be read come first, and the error behind them wraps [ErrDamaged].
	Window(ctx context.Context, f visit.Facility, d day.Day, from, to time.Time) iter.Seq2[Row, error]
	// Lookup returns the row of a visit, if it is stored. One that is damaged on the disk counts as not stored.
	Lookup(ctx context.Context, f visit.Facility, d day.Day, b Blind) (row Row, stored bool, err error)
	// Elsewhere returns which of these codes are recorded on a day at another facility than f, as far as the disk can be read.
	// It may bring codes into another order.
	Elsewhere(ctx context.Context, f visit.Facility, d day.Day, codes []Blind) (map[Blind]bool, error)
}

// Counts answers how many visits there were. Counts outlive the rows they count.
type Counts interface {
	// Counts returns the counts of a facility on a day, ascending by gate and hour, without zeros. Of a damaged day it returns
	// what can be read, and an error that wraps [ErrDamaged].
	Counts(ctx context.Context, f visit.Facility, d day.Day) ([]Count, error)
	// Stored returns how many visits of a facility were ever stored, over all days.
	Stored(ctx context.Context, f visit.Facility) (uint64, error)
}

// Days is the life of whole days.
type Days interface {
	// Days lists the days that have rows, ascending; those retired and not yet dropped, and those whose rows are lost, included.
	// What else lies among them is not looked at.
	Days(ctx context.Context) ([]day.Day, error)
	// Strays names what lies among the days and is none: something that the store has not put there and does not remove.
	Strays(ctx context.Context) ([]string, error)
	// Retire closes a day, durably, and sums it up: from now on Put fails and no row of the day is given out. Retiring it
	// again gives the same tally. A damaged day is closed too.
	Retire(ctx context.Context, d day.Day) (Tally, error)
	// Retired lists the tallies of all days ever retired, ascending.
	Retired(ctx context.Context) ([]Tally, error)
	// SetAside lists the days, ascending, of which something damaged or incomplete was set aside so that rows could be put
	// again, or was met since the store was opened. What was set aside goes when the day is dropped.
	SetAside(ctx context.Context) ([]day.Day, error)
	// Drop removes all rows of a retired day; dropping it again does nothing.
	Drop(ctx context.Context, d day.Day) error
}

// Change is one conditional change to the register.
type Change struct {
	Table, Key string
	Old        []byte // value expected now; nil: none
	New        []byte // value to put; nil: remove
}

// Account takes rows to account: it is told how many of them are new and returns what changes in the register with them,
// which may be nothing. It is called at most once, and may read the store.
type Account func(fresh int) ([]Change, error)

// Entry is one named value of a register's table.
type Entry struct {
	Key   string
	Value []byte
}

// Register keeps named values: facilities, terminals, gates' journal rows and the like. A table's name may hold a–z and
// '-' only, a key any bytes but NUL.
type Register interface {
	// Get returns a value, or an error wrapping [ErrNotFound].
	Get(ctx context.Context, table, key string) ([]byte, error)
	// List returns the entries whose key begins with prefix, ascending.
	List(ctx context.Context, table, prefix string) ([]Entry, error)
	// Swap makes all changes durably or none. Errors wrap [ErrConflict] where a value is not the expected one.
	Swap(ctx context.Context, changes ...Change) error
}

// Store is everything the visit server keeps but keys and audit log.
type Store interface {
	Visits
	Counts
	Days
	Register
	Close() error
}
