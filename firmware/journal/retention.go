package journal

import (
	"context"
	"errors"
	"fmt"
	"time"
)

const (
	destroyEvery = 10 * time.Minute
	confirmEvery = 10 * time.Second // between two questions whether a time that was not confirmed has become so
)

// RunRetention ends the retention of all that the journal holds ([Journal.Forget], [Journal.Destroy], and files set aside)
// until ctx ends, at once and then every ten minutes, and as soon as the time is confirmed that was not before. now tells the time and whether it is confirmed: a clock that is not
// may not end anything but what is kept of delivered records, which goes by running time then. What is kept past its end
// stands in [Stats].
func (j *Journal) RunRetention(ctx context.Context, now func() (at time.Time, confirmed bool)) {
	for {
		at, confirmed := now()
		err := j.runOut(confirmed)
		if confirmed {
			forget := j.Forget(at)
			_, destroy := j.Destroy(at)
			err = errors.Join(err, forget, destroy, j.endAside(at))
		}
		j.tell("ending retention", errors.Join(err, j.tidy()))
		j.lookKept()
		if !nextLook(ctx, confirmed, now) {
			return
		}
	}
}

// nextLook waits for the time of the next look at what is kept, or until the time is confirmed if it was not; false if ctx
// has ended.
func nextLook(ctx context.Context, confirmed bool, now func() (time.Time, bool)) bool {
	var ask <-chan time.Time
	if !confirmed {
		tick := time.NewTicker(confirmEvery)
		defer tick.Stop()
		ask = tick.C
	}
	next := time.NewTimer(destroyEvery)
	defer next.Stop()
	for {
		select {
		case <-ask:
			if _, known := now(); known {
				return true
			}
		case <-next.C:
			return true
		case <-ctx.Done():
			return false
		}
	}
}

// tell logs what retention could not end, once while it stays the same, and keeps it for [Stats].
func (j *Journal) tell(what string, err error) {
	if errors.Is(err, ErrClosed) {
		return
	}
	j.mu.Lock()
	before := j.ending
	j.ending = err
	j.mu.Unlock()
	if err != nil && (before == nil || before.Error() != err.Error()) {
		j.log.Error(what, "error", err)
	}
}

const (
	quietFor  = time.Minute    // without an append, so that a large file may be written anew
	untidyFor = 24 * time.Hour // at most, while there is no quiet minute
)

// tidy writes the file anew if records were taken out of it: bbolt's free pages would show them to whoever has the file.
// A file of much content waits for a minute without visitors, since an append waits for it.
func (j *Journal) tidy() error {
	err := j.do(func() error {
		if j.suspect != nil || j.db == nil {
			return nil
		}
		since := j.tidyFrom(j.state.removed > 0)
		_, live := j.fill()
		if since.IsZero() || live > tidyLive && time.Since(j.appended) < quietFor && time.Since(since) < untidyFor {
			return nil
		}
		err := j.rewrite()
		if err == nil {
			j.tidyFrom(false)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("writing a journal that shows records which have left it anew: %w", err)
	}
	return nil
}

// tidyFrom takes note whether the file is to be written anew, and returns since when it is; zero if it is not.
func (j *Journal) tidyFrom(untidy bool) time.Time {
	j.mu.Lock()
	defer j.mu.Unlock()
	switch {
	case !untidy:
		j.untidy = time.Time{}
	case j.untidy.IsZero():
		j.untidy = time.Now()
	}
	return j.untidy
}
