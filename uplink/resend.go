package uplink

import (
	"fmt"

	"github.com/kipass/kipass/protocol/wire"
)

// resend goes back to where the server's account of the journal ends, as far as the journal reaches. A server that asks
// again and again and takes nothing is sent batches ever more slowly; one that asks with a heartbeat for what is no longer
// kept is told so by the next batch.
func (d *drain) resend(q wire.Resend, beat bool) {
	n, err := d.source.Resend(q.Journal, max(q.After, d.aside))
	if err != nil {
		d.journalFailed(err)
		return
	}
	if n == 0 && beat {
		return
	}
	d.resending.fail(fmt.Errorf("the visit server holds the journal only up to record %d", q.After))
	d.pacing.extend(d.resending.next(d.draw()))
}
