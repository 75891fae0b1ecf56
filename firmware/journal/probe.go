package journal

import bolt "go.etcd.io/bbolt"

// Probe tells whether an append would become durable now: it does all that one does, repairs included, but without a
// record. [Stats.Failed] then tells its outcome. Without it a journal that has failed once would be known to be well
// again only by the next visitor, and none comes to a gate that is out of service.
func (j *Journal) Probe() error {
	return j.do(func() error {
		err := j.repair()
		if err == nil {
			err = j.checkSpace()
		}
		if err == nil {
			next := j.state
			err = j.update(&next, func(*bolt.Tx) error { return nil })
		}
		j.mu.Lock()
		j.failed = err
		j.mu.Unlock()
		return err
	})
}
