package speaker

import (
	"sync"
	"time"
)

// fakeDevice plays in the time of the test's bubble.
type fakeDevice struct {
	mu       sync.Mutex
	asleep   bool
	err      error
	voices   []*fakeVoice
	blocked  chan struct{} // not nil: takes nothing, and Suspend and Resume wait until it is closed
	patience time.Duration // cardPatience if 0

	// takes tells how much of a sound it has taken so long after its Play; nil for as much as has been heard.
	takes func(time.Duration) time.Duration

	released int
	suspends int
	resumes  int
}

type fakeVoice struct {
	device *fakeDevice
	sound  PCM
	volume float64
	began  time.Time
	closed time.Duration // how long it had been played when it was ended
	over   bool
}

func (d *fakeDevice) Play(sound PCM, volume float64) voice {
	d.mu.Lock()
	defer d.mu.Unlock()
	v := &fakeVoice{device: d, sound: sound, volume: volume, began: time.Now()}
	d.voices = append(d.voices, v)
	return v
}

func (v *fakeVoice) Left() int {
	v.device.mu.Lock()
	defer v.device.mu.Unlock()
	if v.device.asleep || v.device.blocked != nil || v.device.err != nil {
		return len(v.sound)
	}
	taken := time.Since(v.began)
	if v.device.takes != nil {
		taken = v.device.takes(taken)
	}
	return max(0, len(v.sound)-2*int(taken*Rate/time.Second))
}

func (v *fakeVoice) Close() {
	v.device.mu.Lock()
	defer v.device.mu.Unlock()
	if !v.over {
		v.over, v.closed = true, time.Since(v.began)
	}
}

func (d *fakeDevice) call(asleep bool) error {
	d.mu.Lock()
	blocked := d.blocked
	d.mu.Unlock()
	if blocked != nil {
		<-blocked
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asleep = asleep
	if asleep {
		d.suspends++
	} else {
		d.resumes++
	}
	return d.err
}

func (d *fakeDevice) Suspend() error { return d.call(true) }
func (d *fakeDevice) Resume() error  { return d.call(false) }

func (d *fakeDevice) Patience() time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.patience == 0 {
		return cardPatience
	}
	return d.patience
}

func (d *fakeDevice) Err() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.err
}

func (d *fakeDevice) Release() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.released++
}

func (d *fakeDevice) set(change func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	change()
}

// state returns how often the device was suspended and released, and whether it is asleep.
func (d *fakeDevice) state() (suspends, released int, asleep bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.suspends, d.released, d.asleep
}

// calls returns how often the device was called.
func (d *fakeDevice) calls() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.voices) + d.suspends + d.resumes + d.released
}

// unended returns how many sounds it was given that were not ended.
func (d *fakeDevice) unended() (n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, v := range d.voices {
		if !v.over {
			n++
		}
	}
	return n
}

// sounds returns copies of what was played, without the silence of idle checks.
func (d *fakeDevice) sounds() (heard []*fakeVoice) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, v := range d.voices {
		if len(v.sound) > len(silence(testLength)) {
			state := *v
			heard = append(heard, &state)
		}
	}
	return heard
}
