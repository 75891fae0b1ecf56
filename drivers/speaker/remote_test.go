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
	"syscall"
	"testing"
	"time"

	"github.com/kipass/kipass/drivers"
	"github.com/kipass/kipass/drivers/drivertest"
)

// ALSA reads its configuration once, so each test of the real device runs the speaker in a process of its own: the test
// binary again, which obeys lines of text.

// promptly is far above what the speaker allows itself, so that a busy machine does not break a test.
const promptly = 5 * time.Second

// childVariable holds the buffer and the time between idle checks in nanoseconds.
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

// child obeys "show CLIP...", "check", "cpu" and "halt" and answers each with one line: microseconds, a space, and an
// error or nothing.
func child(options string, commands io.Reader, answers io.Writer) error {
	clips, err := shippedClips()
	if err != nil {
		return err
	}
	var span, idleCheck time.Duration
	if _, err := fmt.Sscan(options, (*int64)(&span), (*int64)(&idleCheck)); err != nil {
		return err
	}
	began := time.Now()
	s := New(Options{Clips: clips, Volume: 1, Buffer: span, IdleCheck: idleCheck})
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
		case "cpu":
			var used syscall.Rusage
			if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
				return err
			}
			answer(time.Duration(used.Utime.Nano()+used.Stime.Nano()), nil)
		case "halt":
			err := s.Halt()
			answer(time.Since(began), err)
		}
	}
	return nil
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
	t       testing.TB
	clips   map[string]PCM
	started time.Duration // how long New took
	in      io.Writer
	out     *bufio.Scanner
}

func startRemote(t testing.TB, buffer, idleCheck time.Duration, env ...string) *remote {
	t.Helper()
	clips, err := shippedClips()
	if err != nil {
		t.Fatal(err)
	}
	cmd := drivertest.Again()
	cmd.Env = append(append(os.Environ(), env...), fmt.Sprintf("%s=%d %d", childVariable, buffer, idleCheck))
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil || complaints.Len() > 0 {
			t.Errorf("the speaker's process ended with %v and said %q", err, complaints.String())
		}
	})
	r := &remote{t: t, clips: clips, in: in, out: bufio.NewScanner(out)}
	r.started, _ = r.answer()
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
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
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
	card, err := drivertest.NewSoundCard(t.TempDir(), Rate)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := card.Close(); err != nil {
			t.Error(err)
		}
	})
	return card
}

// heard waits until no sound came for a quarter of a second and returns how often each of the clips was heard.
func (r *remote) heard(card *drivertest.SoundCard, names ...string) []int {
	r.t.Helper()
	for before, same := -1, 0; same < 5; time.Sleep(50 * time.Millisecond) {
		now := card.Len()
		if same++; now != before {
			before, same = now, 0
		}
	}
	recording := card.Samples()
	counts := make([]int, len(names))
	for i, name := range names {
		matches, err := drivertest.FindClip(recording, drivertest.Samples16(r.clips[name]), 0.9)
		if err != nil {
			r.t.Fatal(err)
		}
		counts[i] = len(matches)
	}
	return counts
}
