package sounds

import (
	"bytes"
	"embed"
	"encoding/binary"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/kipass/kipass/protocol/visit"
)

// Rate is the sample rate of every clip in hertz. Clips are WAV files of 16-bit mono PCM.
const Rate = 22050

//go:generate ./make.sh

//go:embed clips/*/*.wav
var clips embed.FS

// Clip returns the WAV file of a clip: 22,050 Hz, mono, 16-bit. A name is the language or "tone", a slash, and the
// outcome's code or the tone's colour, for example "ko/admitted" or "tone/green".
func Clip(name string) ([]byte, error) {
	wav, err := clips.ReadFile("clips/" + name + ".wav")
	if err != nil {
		return nil, fmt.Errorf("no clip is called %q; there are %s", name, strings.Join(Names(), ", "))
	}
	return wav, nil
}

// Length returns how long a clip lasts; 0 if there is no such clip.
func Length(name string) time.Duration {
	wav, err := Clip(name)
	_, sound, found := bytes.Cut(wav, []byte("data")) // the last part of the file, and its size before it
	if err != nil || !found || len(sound) < 4 {
		return 0
	}
	samples := binary.LittleEndian.Uint32(sound) / 2
	return time.Duration(samples) * time.Second / Rate
}

// Names returns the names of all clips in alphabetical order.
func Names() []string {
	files, err := fs.Glob(clips, "clips/*/*.wav")
	if err != nil {
		panic(err) // the pattern is a constant
	}
	for i, f := range files {
		files[i] = strings.TrimSuffix(strings.TrimPrefix(f, "clips/"), ".wav")
	}
	slices.Sort(files)
	return files
}

// SpokenLanguages returns the languages there are voice clips in, ko first. Every outcome has a clip in each.
func SpokenLanguages() []string {
	return slices.DeleteFunc(Languages(), func(language string) bool { return !Spoken(language) })
}

// Spoken reports whether there are voice clips in a language.
func Spoken(language string) bool {
	if !slices.Contains(languages, language) {
		return false
	}
	_, err := fs.Stat(clips, "clips/"+language)
	return err == nil
}

// ClipNames returns what is played for an outcome: its tone, then its words in each of the languages in turn, each
// once. A language without voice clips is passed over; if none is left the words are Korean. Without any language
// there is only the tone.
func ClipNames(o visit.Outcome, languages ...string) []string {
	if _, err := visit.ParseOutcome(o.String()); err != nil {
		o = visit.OutOfService
	}
	names := []string{"tone/" + o.Signal().String()}
	for _, language := range languages {
		if name := language + "/" + o.String(); Spoken(language) && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	if len(languages) > 0 && len(names) == 1 {
		names = append(names, "ko/"+o.String())
	}
	return names
}
