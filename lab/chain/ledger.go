package chain

import (
	"encoding/hex"
	"fmt"

	"github.com/kipass/kipass/firmware/journal"
	"github.com/kipass/kipass/protocol/visit"
	"github.com/kipass/kipass/visitserver"
)

// CheckLedger holds the account of a gate's journal against the visit server's account of the same journal: every
// sequence the device ever gave is stored, known already, refused into quarantine, reported as destroyed, or still
// pending; both chains agree; and the server saw no fork and no roll-back. It may be asked at any moment at which the
// gate does not write, also with a batch stored whose receipt was lost.
func CheckLedger(device journal.Ledger, server visitserver.JournalLedger) error {
	if err := device.Check(); err != nil {
		return fmt.Errorf("device: %w", err)
	}
	if server.Journal != device.Journal.String() {
		return fmt.Errorf("device keeps journal %v, the server's account is of %s", device.Journal, server.Journal)
	}
	if server.Last < device.Tail.Seq {
		return fmt.Errorf("device has let go of records up to %d, the server has taken only up to %d", device.Tail.Seq, server.Last)
	}
	if server.Last > device.Head.Seq {
		return fmt.Errorf("server has taken records up to %d, the device wrote only up to %d", server.Last, device.Head.Seq)
	}
	if chain := chainAt(device, server.Last); hex.EncodeToString(chain[:]) != server.Chain {
		return fmt.Errorf("the chains differ at record %d", server.Last)
	}
	if sum := server.Stored + server.Again + server.Refused + server.Missing; sum != server.Last {
		return fmt.Errorf("server: %d stored, %d known already, %d refused and %d missing are not the %d taken", server.Stored, server.Again, server.Refused, server.Missing, server.Last)
	}
	if server.Missing != device.Destroyed {
		return fmt.Errorf("server misses %d records, the device destroyed %d undelivered", server.Missing, device.Destroyed)
	}
	if server.Refused < device.Refused {
		return fmt.Errorf("device quarantined %d records, the server refused only %d", device.Refused, server.Refused)
	}
	for alert, n := range server.Alerts {
		if alert != "gap" || device.Destroyed == 0 {
			return fmt.Errorf("server raised %d × %q", n, alert)
		}
	}
	return nil
}

// chainAt returns the device's chain value after a sequence between tail and head.
func chainAt(device journal.Ledger, seq uint64) visit.Chain {
	chain := device.Tail.Chain
	for _, r := range device.Pending.Records {
		if r.Seq > seq {
			break
		}
		chain = chain.Next(r)
	}
	return chain
}
