package speaker

import "time"

// state is where the loop is with its device. It alone says which fields of the loop hold something.
type state uint8

const (
	absent     state = iota // there is no device; the next attempt to open it has its time
	opening                 // an attempt to open the device is out
	ready                   // the device takes samples and gets silence
	playing                 // the device takes samples and plays a sound
	suspending              // Suspend is out
	recalled                // Suspend is out, and a sound waits for it to return
	resting                 // the device is suspended
	waking                  // Resume is out, and a sound waits for it to return
)

func (s state) String() string {
	return [...]string{"absent", "opening", "ready", "playing", "suspending", "recalled", "resting", "waking"}[s]
}

// open tells whether there is a device.
func (s state) open() bool { return s >= ready }

// sounding tells whether the device has been given a sound that it has not taken whole.
func (s state) sounding() bool { return s == playing || s == recalled || s == waking }

// event is what can happen to the loop.
type event uint8

const (
	due      event = iota // the time that the state waits for has come
	opened                // the device was opened
	refused               // the device could not be opened
	begin                 // a sound is to be played
	cut                   // whatever is being played is to end
	finished              // the device has taken the sound being played
	returned              // Suspend or Resume has done its work
	lost                  // the device is of no use any more
)

func (e event) String() string {
	return [...]string{"due", "opened", "refused", "begin", "cut", "finished", "returned", "lost"}[e]
}

// transition is what an event leads to.
type transition struct {
	to state
	do func(*loop, time.Time) // what is done on the way there; it raises no event itself
}

// transitions is what the loop runs. An event that a state has no entry for changes nothing.
var transitions = map[state]map[event]transition{
	absent: {
		due: {opening, (*loop).attempt},
	},
	opening: {
		opened:  {ready, (*loop).takeOver},
		refused: {absent, (*loop).retryLater},
		due:     {opening, (*loop).reportSlowOpening},
	},
	ready: {
		begin: {playing, (*loop).play},
		due:   {suspending, (*loop).suspend},
		lost:  {absent, (*loop).release},
	},
	playing: {
		begin:    {playing, (*loop).replace},
		cut:      {ready, (*loop).cutShort},
		finished: {ready, (*loop).drain},
		due:      {playing, (*loop).dropStalled},
		lost:     {absent, (*loop).quietAndRelease},
	},
	suspending: {
		begin:    {recalled, (*loop).give},
		returned: {resting, (*loop).rest},
		due:      {suspending, (*loop).reportStall},
		lost:     {absent, (*loop).release},
	},
	recalled: {
		begin:    {recalled, (*loop).replace},
		cut:      {suspending, (*loop).quiet},
		returned: {waking, (*loop).wakeAgain},
		due:      {recalled, (*loop).dropStalled},
		lost:     {absent, (*loop).quietAndRelease},
	},
	resting: {
		begin: {waking, (*loop).playAndResume},
		due:   {waking, (*loop).test},
		lost:  {absent, (*loop).release},
	},
	waking: {
		begin:    {waking, (*loop).replace},
		cut:      {waking, (*loop).replaceBySilence},
		returned: {playing, nil},
		due:      {waking, (*loop).dropStalled},
		lost:     {absent, (*loop).quietAndRelease},
	},
}

// on makes the transition that the table has for the event.
func (l *loop) on(e event, now time.Time) {
	t, known := transitions[l.state][e]
	if !known {
		return
	}
	l.state = t.to
	if t.do != nil {
		t.do(l, now)
	}
}
