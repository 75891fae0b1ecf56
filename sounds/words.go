// Package sounds holds what the gate says: the wording of every outcome in every language, and the voice clips and
// tones made from it. The wording is the one source for voice and screen.
package sounds

import (
	_ "embed"
	"fmt"
	"slices"
	"strings"

	"github.com/kipass/kipass/protocol/visit"
)

//go:embed words.tsv
var wordsTSV string

// words maps key ("idle" or an outcome's code) to language to text.
var words, languages = readWords(wordsTSV)

func readWords(tsv string) (map[string]map[string]string, []string) {
	lines := strings.Split(strings.TrimSpace(tsv), "\n")
	languages := strings.Split(lines[0], "\t")[1:]
	table := map[string]map[string]string{}
	for _, line := range lines[1:] {
		cells := strings.Split(line, "\t")
		if len(cells) != len(languages)+1 {
			panic(fmt.Sprintf("words.tsv: %q has %d columns, must be %d", cells[0], len(cells), len(languages)+1))
		}
		table[cells[0]] = map[string]string{}
		for i, lang := range languages {
			table[cells[0]][lang] = cells[i+1]
		}
	}
	return table, languages
}

// Languages returns the language codes there is wording for: ko first, then en, zh, ja, vi.
func Languages() []string { return slices.Clone(languages) }

// Words returns what the gate says for an outcome. An unknown language gives the Korean words.
func Words(o visit.Outcome, language string) string { return wording(o.String(), language) }

// Idle returns what the gate says while nobody is in front of it.
func Idle(language string) string { return wording("idle", language) }

func wording(key, language string) string {
	if text, ok := words[key][language]; ok {
		return text
	}
	return words[key]["ko"]
}
