package journal

import (
	"context"
	"errors"
	"time"
)

const destroyEvery = 10 * time.Minute

// RunRetention ends the retention of all that the journal holds ([Journal.Forget], [Journal.Destroy], and files set aside)
// until ctx ends, at once and then every ten minutes. now tells the time and whether it is trusted: a clock that is not
// may not end anything but what is kept of delivered records, which goes by running time then.
func (j *Journal) RunRetention(ctx context.Context, now func() (at time.Time, trusted bool)) {
	tick := time.NewTicker(destroyEvery)
	defer tick.Stop()
	for {
		at, trusted := now()
		j.runOut(trusted)
		if trusted {
			err := j.Forget(at)
			_, e := j.Destroy(at)
			if err := errors.Join(err, e, j.endAside(at)); err != nil {
				j.log.Error("ending retention", "error", err)
			}
		}
		j.tidy()
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

const (
	quietFor  = time.Minute    // without an append, so that a large file may be written anew
	untidyFor = 24 * time.Hour // at most, while there is no quiet minute
)

// tidy writes the file anew if records were taken out of it: bbolt's free pages would show them to whoever has the file.
// A file of much content waits for a minute without visitors, since an append waits for it.
func (j *Journal) tidy() {
	err := j.do(func() error {
		if j.suspect != nil || j.db == nil || j.state.removed == 0 {
			return nil
		}
		if j.untidy.IsZero() {
			j.untidy = time.Now()
		}
		_, live := j.fill()
		if live > tidyLive && time.Since(j.appended) < quietFor && time.Since(j.untidy) < untidyFor {
			return nil
		}
		if err := j.rewrite(); err != nil {
			return err
		}
		j.untidy = time.Time{}
		return nil
	})
	if err != nil && !errors.Is(err, ErrClosed) {
		j.log.Warn("journal still shows records that have left it", "error", err)
	}
}
