//go:build cgo && !nosound

package speaker

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kipass/kipass/drivers"
	"github.com/kipass/kipass/drivers/drivertest"
	"github.com/kipass/kipass/internal/testkit"
)

// ALSA reads its configuration once, so each test of the real device runs the speaker in a process of its own: the test
// binary again, which obeys lines of text.

const (
	// patience ends a test that hangs. It says nothing of how soon anything should be so.
	patience = 5 * time.Minute

	// slowness is how much slower than real time passes for the speaker of a test: the device may be served that much
	// later before it counts as stalled.
	slowness = 10
)

// childVariable holds slowness, the buffer, and the time between idle checks in nanoseconds.
const childVariable = "SPEAKER_TEST_CHILD"

func TestMain(m *testing.M) {
	if options := os.Getenv(childVariable); options != "" {
		if err := child(options, os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// child obeys "show CLIP...", "check", "rest", which waits until the device rests, and "halt", and answers each with one line: microseconds, a space, and an
// error or nothing.
func child(options string, commands io.Reader, answers io.Writer) error {
	clips, err := shippedClips()
	if err != nil {
		return err
	}
	var slowness, span, idleCheck time.Duration
	if _, err := fmt.Sscan(options, (*int64)(&slowness), (*int64)(&span), (*int64)(&idleCheck)); err != nil {
		return err
	}
	var rests rests
	began := time.Now()
	s := startAt(slowness, Options{Clips: clips, Volume: 1, Buffer: span, IdleCheck: idleCheck}, rests.opener)
	answer := func(took time.Duration, err error) {
		text := ""
		if err != nil {
			text = kind(err) + ": " + strings.ReplaceAll(err.Error(), "\n", " ")
		}
		fmt.Fprintf(answers, "%d %s\n", took.Microseconds(), text)
	}
	answer(time.Since(began), nil)
	for lines := bufio.NewScanner(commands); lines.Scan(); {
		words := strings.Fields(lines.Text())
		began := time.Now()
		switch words[0] {
		case "show":
			err := s.Show(context.Background(), drivers.Cue{Clips: words[1:]})
			answer(time.Since(began), err)
		case "check":
			err := s.Check()
			answer(time.Since(began), err)
		case "rest":
			rests.await()
			answer(time.Since(began), nil)
		case "halt":
			err := s.Halt()
			answer(time.Since(began), err)
		}
	}
	return nil
}

// rests knows whether the device has been suspended with nothing left to play.
type rests struct {
	mu      sync.Mutex
	rested  bool
	voices  int           // sounds given to the device and not ended yet
	changed chan struct{} // closed when the device rests; nil before anyone waited
}

// given notes that the device was given a sound, or that one was ended.
func (r *rests) given(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.voices += n
	r.rested = false
}

// suspended notes that the device was suspended. One with a sound in it will be woken.
func (r *rests) suspended() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.rested = r.voices == 0; r.rested && r.changed != nil {
		close(r.changed)
		r.changed = nil
	}
}

func (r *rests) await() {
	for {
		r.mu.Lock()
		if r.rested {
			r.mu.Unlock()
			return
		}
		if r.changed == nil {
			r.changed = make(chan struct{})
		}
		changed := r.changed
		r.mu.Unlock()
		<-changed
	}
}

func (r *rests) opener(ctx context.Context, buffer time.Duration) (soundDevice, error) {
	d, err := openDevice(ctx, buffer)
	if err != nil {
		return nil, err
	}
	return restingDevice{d, r}, nil
}

// restingDevice tells when it is suspended.
type restingDevice struct {
	soundDevice
	rests *rests
}

func (d restingDevice) Play(sound PCM, volume float64) voice {
	d.rests.given(1)
	return &restingVoice{d.soundDevice.Play(sound, volume), sync.OnceFunc(func() { d.rests.given(-1) })}
}

func (d restingDevice) Suspend() error {
	err := d.soundDevice.Suspend()
	if err == nil {
		d.rests.suspended()
	}
	return err
}

// restingVoice tells when it is ended.
type restingVoice struct {
	voice
	ended func()
}

func (v *restingVoice) Close() {
	v.voice.Close()
	v.ended()
}

func kind(err error) string {
	switch {
	case errors.Is(err, drivers.ErrUnavailable):
		return "unavailable"
	case errors.Is(err, drivers.ErrLost):
		return "lost"
	default:
		return "other"
	}
}

func shippedClips() (map[string]PCM, error) {
	files, err := filepath.Glob("../../sounds/clips/*/*.wav")
	if err != nil || len(files) == 0 {
		return nil, fmt.Errorf("%d clips, error %w", len(files), err)
	}
	clips := map[string]PCM{}
	for _, file := range files {
		wav, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		name := filepath.Base(filepath.Dir(file)) + "/" + strings.TrimSuffix(filepath.Base(file), ".wav")
		if clips[name], err = Decode(wav, Rate); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
	}
	return clips, nil
}

// remote is a speaker in another process.
type remote struct {
	t     testing.TB
	clips map[string]PCM
	in    io.Writer
	out   *bufio.Scanner
}

func startRemote(t testing.TB, card *drivertest.SoundCard, slowness, buffer, idleCheck time.Duration) *remote {
	t.Helper()
	clips := testkit.Must(shippedClips())(t)
	cmd := drivertest.Again()
	cmd.Env = append(append(os.Environ(), card.Env()...), fmt.Sprintf("%s=%d %d %d", childVariable, slowness, buffer, idleCheck))
	in, out := testkit.Must(cmd.StdinPipe())(t), testkit.Must(cmd.StdoutPipe())(t)
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	testkit.Check(t, cmd.Start())
	t.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil || complaints.Len() > 0 {
			t.Errorf("the speaker's process ended with %v and said %q", err, complaints.String())
		}
	})
	r := &remote{t: t, clips: clips, in: in, out: bufio.NewScanner(out)}
	_, _ = r.answer()
	return r
}

func (r *remote) answer() (time.Duration, string) {
	r.t.Helper()
	if !r.out.Scan() {
		r.t.Fatal("the speaker's process has ended")
	}
	micros, text, _ := strings.Cut(r.out.Text(), " ")
	n, err := strconv.Atoi(micros)
	if err != nil {
		r.t.Fatalf("the speaker's process says %q", r.out.Text())
	}
	return time.Duration(n) * time.Microsecond, text
}

func (r *remote) do(command string) (time.Duration, string) {
	r.t.Helper()
	fmt.Fprintln(r.in, command)
	return r.answer()
}

func (r *remote) must(command string) {
	r.t.Helper()
	if took, text := r.do(command); text != "" {
		r.t.Fatalf("%s: %s (after %v)", command, text, took)
	}
}

// until repeats a command until its answer satisfies done.
func (r *remote) until(command string, done func(string) bool) (text string) {
	r.t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if _, text = r.do(command); done(text) {
			return text
		}
	}
	r.t.Fatalf("%s still answers %q", command, text)
	return ""
}

func works(text string) bool { return text == "" }
func fails(text string) bool { return text != "" }

func newCard(t testing.TB) *drivertest.SoundCard {
	t.Helper()
	if testing.Short() {
		t.Skip("plays at the pace of a real sound card, in a process of its own")
	}
	card := testkit.Must(drivertest.NewSoundCard(t.TempDir(), Rate))(t)
	t.Cleanup(func() { testkit.Check(t, card.Close()) })
	return card
}

// newFixture returns a speaker in a process of its own, with a card, for which time passes slowly.
func newFixture(t testing.TB) (*remote, *drivertest.SoundCard) {
	t.Helper()
	card := newCard(t)
	return startRemote(t, card, slowness, DefaultBuffer, time.Second), card
}

// refused checks that a Show fails because the device is not available.
func (r *remote) refused(clip string) (text string) {
	r.t.Helper()
	_, text = r.do("show " + clip)
	if !strings.HasPrefix(text, "unavailable") {
		r.t.Errorf("show %s is answered %q, want it to be unavailable", clip, text)
	}
	return text
}

// heard waits until the device rests and the card has taken everything, and returns how often each of the clips was heard.
func (r *remote) heard(card *drivertest.SoundCard, names ...string) []int {
	r.t.Helper()
	r.must("rest")
	card.Drain()
	recording := card.Samples()
	counts := make([]int, len(names))
	for i, name := range names {
		matches, err := drivertest.FindClip(recording, drivertest.Samples16(r.clips[name]), 0.9)
		testkit.Check(r.t, err)
		counts[i] = len(matches)
	}
	return counts
}
