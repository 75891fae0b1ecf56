//go:build cgo && !nosound

package speaker

// #cgo pkg-config: alsa
// #include <alsa/asoundlib.h>
//
// static void quiet(const char *file, int line, const char *function, int err, const char *format, ...) {}
//
// // probe opens the default device for playing, without waiting for its turn, and closes it again: 0, or a negative error number.
// static int probe(void) {
//   snd_pcm_t *pcm;
//   snd_lib_error_set_handler(quiet); // what goes wrong is returned; ALSA would print it as well
//   int err = snd_pcm_open(&pcm, "default", SND_PCM_STREAM_PLAYBACK, SND_PCM_NONBLOCK);
//   if (err < 0) return err;
//   snd_pcm_close(pcm);
//   return 0;
// }
import "C"

import (
	"context"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hajimehoshi/oto/v2"

	"github.com/kipass/kipass/drivers"
)

// process holds the one oto context of the process. It cannot be closed, so it outlives its speaker, suspended, and the
// next speaker takes it over.
var process struct {
	sync.Mutex
	context *oto.Context
	ready   <-chan struct{}
	taken   bool
}

func openDevice(ctx context.Context, buffer time.Duration) (device, error) {
	process.Lock()
	defer process.Unlock()
	if process.taken {
		return nil, fmt.Errorf("sound device: another speaker of this process has it: %w", drivers.ErrUnavailable)
	}
	if process.context == nil || process.context.Err() != nil {
		// Every context leaves a goroutine behind for good, so one is made only when the device can be opened.
		if err := C.probe(); err < 0 {
			return nil, fmt.Errorf("no sound device: %s: %w", C.GoString(C.snd_strerror(err)), drivers.ErrUnavailable)
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
	return otoDevice{process.context}, nil
}

type otoDevice struct{ *oto.Context }

func (d otoDevice) Release() {
	process.Lock()
	process.taken = false
	process.Unlock()
}

func (d otoDevice) Play(pcm PCM, volume float64) voice {
	v := &otoVoice{whole: pcm}
	v.player = d.NewPlayer(v)
	v.player.SetVolume(volume)
	v.player.Play()
	return v
}

// otoVoice is one sound being played, and the source oto reads it from.
type otoVoice struct {
	whole  PCM
	player oto.Player
	taken  atomic.Int64 // bytes oto has read
	reads  atomic.Int32
}

func (v *otoVoice) Read(p []byte) (int, error) {
	v.reads.Add(1)
	at := v.taken.Load()
	if at == int64(len(v.whole)) {
		return 0, io.EOF
	}
	n := copy(p, v.whole[at:])
	v.taken.Add(int64(n))
	return n, nil
}

// Left counts what is in oto's own buffer as well, which IsPlaying does not. What the first read returned is on its way
// to that buffer until it shows there or a second read comes.
func (v *otoVoice) Left() int {
	waiting := v.player.UnplayedBufferSize()
	if waiting == 0 && v.reads.Load() < 2 {
		return len(v.whole)
	}
	return len(v.whole) - int(v.taken.Load()) + waiting
}

func (v *otoVoice) Close() { v.player.Close() }
