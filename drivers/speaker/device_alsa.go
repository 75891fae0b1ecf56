//go:build cgo && !nosound

package speaker

// #cgo pkg-config: alsa
// #include <alsa/asoundlib.h>
//
// static void quiet(const char *file, int line, const char *function, int err, const char *format, ...) {}
//
// enum { card, process, server };
//
// // probe opens the default device for playing, without waiting for its turn, and closes it again. It returns who takes
// // the sound – a card of the kernel, some process, or a sound server by a plug-in of its own –, or a negative error number.
// static int probe(void) {
//   snd_pcm_t *pcm;
//   snd_lib_error_set_handler(quiet); // what goes wrong is returned; ALSA would print it as well
//   int err = snd_pcm_open(&pcm, "default", SND_PCM_STREAM_PLAYBACK, SND_PCM_NONBLOCK);
//   if (err < 0) return err;
//   int kind = process;
//   snd_pcm_info_t *info;
//   if (snd_pcm_type(pcm) == SND_PCM_TYPE_IOPLUG) kind = server;
//   else if (snd_pcm_info_malloc(&info) == 0) {
//     if (snd_pcm_info(pcm, info) == 0 && snd_pcm_info_get_card(info) >= 0) kind = card;
//     snd_pcm_info_free(info);
//   }
//   snd_pcm_close(pcm);
//   return kind;
// }
import "C"

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/hajimehoshi/oto/v2"

	"github.com/kipass/kipass/drivers"
)

// process holds the one oto context of the process. It cannot be closed, so it outlives its speaker, suspended, and the
// next speaker takes it over.
var process struct {
	sync.Mutex
	context  *oto.Context
	ready    <-chan struct{}
	patience time.Duration // of its device
	taken    bool
}

func openDevice(ctx context.Context, buffer time.Duration) (soundDevice, error) {
	process.Lock()
	defer process.Unlock()
	if process.taken {
		return nil, fmt.Errorf("sound device: another speaker of this process has it: %w", drivers.ErrUnavailable)
	}
	if process.context == nil || process.context.Err() != nil {
		// Every context leaves a goroutine behind for good, so one is made only when the device can be opened.
		kind := C.probe()
		if kind < 0 {
			return nil, fmt.Errorf("no sound device: %s: %w", C.GoString(C.snd_strerror(kind)), drivers.ErrUnavailable)
		}
		process.patience = serverPatience
		switch kind {
		case C.card:
			process.patience = cardPatience
		case C.server:
			buffer = max(buffer, serverBuffer)
		}
		c, ready, err := oto.NewContextWithOptions(&oto.NewContextOptions{
			SampleRate: Rate, ChannelCount: 1, Format: oto.FormatSignedInt16LE, BufferSize: buffer,
		})
		if err != nil {
			return nil, fmt.Errorf("no sound device: %w: %w", err, drivers.ErrUnavailable)
		}
		process.context, process.ready = c, ready
	}
	select {
	case <-process.ready:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if err := process.context.Err(); err != nil {
		return nil, fmt.Errorf("no sound device: %w: %w: %w", errUnusable, err, drivers.ErrUnavailable)
	}
	if err := ctx.Err(); err != nil {
		return nil, err // nobody waits for it any more
	}
	process.taken = true
	return otoDevice{process.context, process.patience}, nil
}

type otoDevice struct {
	*oto.Context
	patience time.Duration
}

func (d otoDevice) Patience() time.Duration { return d.patience }

func (d otoDevice) Release() {
	process.Lock()
	process.taken = false
	process.Unlock()
}

// Play has oto read the whole sound before it returns: the device, woken next, would take silence first and the sound
// only after all its buffers.
func (d otoDevice) Play(pcm PCM, volume float64) voice {
	v := &otoVoice{rest: pcm, size: len(pcm), read: make(chan struct{})}
	v.player = d.NewPlayer(v)
	v.player.(oto.BufferSizeSetter).SetBufferSize(len(pcm) + 2) // more than the sound has, so that its end is read too
	v.player.SetVolume(volume)
	v.player.Play()
	limit := time.NewTimer(readLimit)
	defer limit.Stop()
	select {
	case <-v.read:
	case <-limit.C:
	}
	return v
}

// readLimit bounds the wait for oto's goroutine, which only copies memory.
const readLimit = 50 * time.Millisecond

// otoVoice is one sound being played, and the source oto reads it from.
type otoVoice struct {
	player oto.Player
	size   int
	rest   []byte        // what oto has not read; belongs to its goroutine
	read   chan struct{} // closed when oto has read all
	once   sync.Once
}

func (v *otoVoice) Read(p []byte) (int, error) {
	if len(v.rest) == 0 {
		v.once.Do(func() { close(v.read) })
		return 0, io.EOF
	}
	n := copy(p, v.rest)
	v.rest = v.rest[n:]
	return n, nil
}

// Left counts what is in oto's own buffer, which IsPlaying does not.
func (v *otoVoice) Left() int {
	select {
	case <-v.read:
		return v.player.UnplayedBufferSize()
	default:
		return v.size
	}
}

func (v *otoVoice) Close() { v.player.Close() }
