package sounds_test

import (
	"crypto/sha256"
	"encoding/hex"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kipass/kipass/internal/testkit"
	"github.com/kipass/kipass/protocol/visit"
	"github.com/kipass/kipass/sounds"
)

// spokenText is what the voice says for an outcome: the wording, with Q and R spelt as they sound in Korean.
func spokenText(o visit.Outcome, language string) string {
	text := sounds.Words(o, language)
	if language == "ko" {
		text = strings.ReplaceAll(text, "QR", "큐알")
	}
	return text
}

func TestScriptSpeaksTheWording(t *testing.T) {
	for _, language := range sounds.SpokenLanguages() {
		for _, o := range visit.Outcomes() {
			out, err := exec.Command("./make.sh", "text", language, o.String()).Output()
			if err != nil {
				t.Fatalf("make.sh text %s %v: %v", language, o, err)
			}
			if got := strings.TrimSuffix(string(out), "\n"); got != spokenText(o, language) {
				t.Errorf("make.sh speaks %q for %s/%v, the wording is %q", got, language, o, spokenText(o, language))
			}
		}
	}
	if out, err := exec.Command("./make.sh", "text", "ko", "nothing").Output(); err == nil {
		t.Errorf("make.sh speaks %q for a key that does not exist", out)
	}
}

func TestAdmittedClipSaysVerifiedInKorean(t *testing.T) {
	if got := spokenText(visit.Admitted, "ko"); got != "인증되었습니다." {
		t.Errorf("the words for admitted are %q", got)
	}
}

// The manifest is written with the clips: it fails here when the wording was changed and the clips were not made anew.
func TestManifestHoldsWordsAndClipsTogether(t *testing.T) {
	manifest, err := os.ReadFile("clips/manifest.tsv")
	testkit.Check(t, err)
	said := map[string][2]string{}
	for line := range strings.Lines(string(manifest)) {
		cells := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if len(cells) != 3 {
			t.Fatalf("manifest line %q has %d columns", line, len(cells))
		}
		said[cells[0]] = [2]string{cells[1], cells[2]}
	}
	for _, language := range sounds.SpokenLanguages() {
		for _, o := range visit.Outcomes() {
			name := language + "/" + o.String()
			wav, err := sounds.Clip(name)
			testkit.Check(t, err)
			sum := sha256.Sum256(wav)
			if want := [2]string{hex.EncodeToString(sum[:]), spokenText(o, language)}; said[name] != want {
				t.Errorf("%s: the manifest has %q, wording and clip are %q; run sounds/make.sh", name, said[name], want)
			}
			delete(said, name)
		}
	}
	for name := range said {
		t.Errorf("the manifest names %s, which is no outcome", name)
	}
}

func TestClipsCanBeMadeAgain(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a speech synthesizer")
	}
	for _, tool := range []string{"espeak-ng", "sox"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not installed (apt-get install espeak-ng sox): the clips are checked by their manifest only", tool)
		}
	}
	dir := t.TempDir()
	if out, err := exec.Command("./make.sh", "into", dir).CombinedOutput(); err != nil {
		t.Fatalf("make.sh: %v\n%s", err, out)
	}
	for _, name := range sounds.Names() {
		wav, err := os.ReadFile(filepath.Join(dir, name+".wav"))
		testkit.Check(t, err)
		again, err := decode(wav)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if likeness := correlation(clip(t, name), again); likeness < 0.95 {
			t.Errorf("%s: made again it is another sound (correlation %.3f)", name, likeness)
		}
	}
}

// correlation of two sounds that begin together, from -1 to 1
func correlation(a, b []float64) float64 {
	var ab, aa, bb float64
	for i := range max(len(a), len(b)) {
		var x, y float64
		if i < len(a) {
			x = a[i]
		}
		if i < len(b) {
			y = b[i]
		}
		ab, aa, bb = ab+x*y, aa+x*x, bb+y*y
	}
	return ab / math.Sqrt(aa*bb)
}
