//go:build cgo && !nosound

package bench

import (
	"bytes"
	"errors"
	"time"

	"github.com/hajimehoshi/oto/v2"

	"github.com/kipass/kipass/drivers/speaker"
)

// openBareSound opens the sound device as the voice does and leaves it at rest; play wakes it, plays a tone to its end,
// and lets it rest again.
func openBareSound() (play func() error, err error) {
	device, ready, err := oto.NewContextWithOptions(&oto.NewContextOptions{
		SampleRate: speaker.Rate, ChannelCount: 1, Format: oto.FormatSignedInt16LE, BufferSize: speaker.DefaultBuffer,
	})
	if err != nil {
		return nil, err
	}
	<-ready
	if err := device.Suspend(); err != nil {
		return nil, err
	}
	tone := bytes.Repeat([]byte{0, 0x20}, int(bareTone*speaker.Rate/time.Second))
	return func() error {
		p := device.NewPlayer(bytes.NewReader(tone))
		p.(oto.BufferSizeSetter).SetBufferSize(len(tone))
		p.Play()
		if err := device.Resume(); err != nil {
			return err
		}
		for p.IsPlaying() {
			time.Sleep(bareTone / 10)
		}
		time.Sleep(bareRest) // what waits in the buffers would be heard first the next time
		return errors.Join(p.Close(), device.Suspend())
	}, nil
}
