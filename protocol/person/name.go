// Package person is the one form in which all parties write a person's name and telephone number, so that one person is one
// contact, however the two were typed in. SPEC.md tells it for other programs.
package person

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
	"golang.org/x/text/width"
)

// ErrName is wrapped by every error of [Name]. No error holds anything of what was typed in.
var ErrName = errors.New("name is not acceptable")

const (
	MaxName = 64 // characters of a name

	maxNameText = 16 * MaxName // bytes that are looked at: a syllable of Hangul may have come as three letters of three bytes
	// maxMarks is the longest row of combining marks: more than any script has on a letter, fewer than cover the lines around it.
	maxMarks = 6
)

// Name brings a name into its one form: canonical composition (Unicode NFC), letters at their usual width, one space between
// words and none around them, and nothing that cannot be seen.
func Name(s string) (string, error) {
	if len(s) > maxNameText {
		return "", nameError("it is too long")
	}
	if !utf8.ValidString(s) {
		return "", nameError("it is not UTF-8")
	}
	s = norm.NFC.String(strings.Map(visible, width.Fold.String(s)))
	s = strings.Join(strings.Fields(s), " ")
	marks := 0
	for _, r := range s {
		if !unicode.IsPrint(r) {
			return "", nameError("it has a control character, or one of no meaning")
		}
		if marks++; !unicode.Is(unicode.M, r) {
			marks = 0
		}
		if marks > maxMarks {
			return "", nameError("it has too many marks on a letter")
		}
	}
	if !strings.ContainsFunc(s, unicode.IsLetter) {
		return "", nameError("it has no letter")
	}
	if utf8.RuneCountInString(s) > MaxName {
		return "", nameError("it is too long")
	}
	return s, nil
}

func nameError(why string) error {
	return fmt.Errorf("%w: %s; write 1 to %d characters, at least one of them a letter", ErrName, why, MaxName)
}

// invisible are characters that show nothing: joiners, bidi controls, fillers, selectors of a form of the same letter. They
// come with what was copied, and differ between keyboards.
var invisible = []*unicode.RangeTable{unicode.Cf, unicode.Variation_Selector, unicode.Other_Default_Ignorable_Code_Point}

func visible(r rune) rune {
	if unicode.IsOneOf(invisible, r) {
		return -1
	}
	return r
}

// Key is what two spellings of a name have in common: neither case nor spaces tell persons with one number apart. What is
// no name is compared as it is.
func Key(name string) string {
	n, err := Name(name)
	if err != nil {
		return "\x00" + name
	}
	return strings.ToLower(strings.ReplaceAll(n, " ", ""))
}
