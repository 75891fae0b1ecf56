package person

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// ErrPhone is wrapped by every error of [Phone]. No error holds anything of what was typed in.
var ErrPhone = errors.New("phone number is not acceptable")

const (
	maxPhoneText = 128 // bytes that are looked at

	minDigits, maxDigits = 8, 15 // of a number abroad with its country code; ITU-T E.164 allows 15

	countryKorea   = "82"
	countryAmerica = "1" // the North American Numbering Plan
)

// Phone brings a telephone number into E.164 form, "+821012345678". A number without a country code is Korean, with the 0
// that is dialled within the country; with +82, 0082 or behind a carrier's 001-82 that 0 may be left or not. A number
// abroad begins with a plus: what is dialled in its place differs between countries. A number that is not certain to be
// somebody's is refused, since a wrong one reaches another person.
func Phone(s string) (string, error) {
	dialled, err := dial(s)
	if err != nil {
		return "", err
	}
	number, plus := strings.CutPrefix(dialled, "+")
	switch local, korean := strings.CutPrefix(number, "0"); {
	case plus && !strings.HasPrefix(number, countryKorea):
		return abroad(number)
	case plus:
		return korea(strings.TrimPrefix(number[len(countryKorea):], "0"))
	case korean && !strings.HasPrefix(local, "0"):
		return korea(local)
	}
	for _, prefix := range international {
		if local, ok := strings.CutPrefix(number, prefix+countryKorea); ok {
			return korea(strings.TrimPrefix(local, "0"))
		}
	}
	return "", phoneError("it begins with neither 0 nor a country code")
}

// international are what is dialled before a country code in Korea: nothing, for who leaves out the plus, the 00 of most
// countries, and the prefixes of the Korean carriers.
var international = []string{
	"", "00", "001", "002", "005", "006", "008", "009", "00345", "00365", "00391", "00700", "00727", "00755", "00761", "00762", "00766",
}

// dial returns the digits of a number as it is dialled, behind the plus if there is one. "(0)" is what is not dialled behind
// a country code.
func dial(s string) (string, error) {
	if len(s) > maxPhoneText || !utf8.ValidString(s) {
		return "", phoneError("it is too long, or not UTF-8")
	}
	var b strings.Builder
	for _, r := range s {
		switch d, ok := digit(r); {
		case ok:
			b.WriteByte('0' + d)
		case strings.ContainsRune("+＋﹢", r):
			b.WriteByte('+')
		case strings.ContainsRune("(（﹙", r):
			b.WriteByte('(')
		case strings.ContainsRune(")）﹚", r):
			b.WriteByte(')')
		case !separates(r):
			return "", phoneError("it has a letter or sign that is not part of a number")
		}
	}
	text := b.String()
	if before, after, ok := strings.Cut(text, "(0)"); ok && before != "" && !nationwide.MatchString(before) {
		text = before + after
	}
	text = strings.NewReplacer("(", "", ")", "").Replace(text)
	if strings.LastIndexByte(text, '+') > 0 {
		return "", phoneError("it has a plus in its midst")
	}
	if strings.TrimPrefix(text, "+") == "" {
		return "", phoneError("it has no digits")
	}
	return text, nil
}

// nationwide is the beginning of a number as it is dialled within the country.
var nationwide = regexp.MustCompile(`^\(?0[1-9]`)

// separates reports whether a character only stands between digits for the eye: spaces, dashes of all kinds and what is
// typed for them, dots, slashes, and what shows nothing.
func separates(r rune) bool {
	return unicode.IsSpace(r) || unicode.Is(unicode.Pd, r) || strings.ContainsRune("−ーｰ./．／·・･‧", r) || visible(r) < 0
}

// digit returns the value of a decimal digit of any script. Unicode has the digits of a script in a row, from 0 to 9.
func digit(r rune) (value byte, ok bool) {
	for _, row := range unicode.Nd.R16 {
		if rune(row.Lo) <= r && r <= rune(row.Hi) {
			return byte((r - rune(row.Lo)) % 10), true
		}
	}
	for _, row := range unicode.Nd.R32 {
		if rune(row.Lo) <= r && r <= rune(row.Hi) {
			return byte((r - rune(row.Lo)) % 10), true
		}
	}
	return 0, false
}

// personal are the numbers of the Korean plan that a person may have, without the 0 before them: mobile phones, landlines in
// Seoul and the other areas, internet telephony, and personal numbers that ring elsewhere. Not those of machines (012), pagers (015),
// free and premium services (080, 060) and companies (1588).
var personal = regexp.MustCompile(`^(10\d{8}|1[16-9]\d{7,8}|2[1-9]\d{6,7}|(3[1-3]|4[1-4]|5[1-5]|6[1-4])[1-9]\d{6,7}|70\d{8}|50\d{8,9})$`)

func korea(local string) (string, error) {
	if !personal.MatchString(local) {
		return "", phoneError("it is no number of a person in the Korean plan")
	}
	return "+" + countryKorea + local, nil
}

// trunkZero are country codes behind which no number of E.164 form has a 0, though one is dialled within the country.
var trunkZero = []string{
	"20", "27", "31", "32", "33", "40", "41", "43", "44", "46", "49", "51", "54", "55", "58", "60", "61", "62", "63", "64", "66", "81", "84", "86", "90",
	"91", "92", "93", "94", "95", "98", "353", "358", "380", "855", "856", "880", "886", "962", "964", "966", "971", "972", "976", "977",
}

func abroad(number string) (string, error) {
	for _, code := range trunkZero {
		if local, ok := strings.CutPrefix(number, code+"0"); ok {
			if strings.HasPrefix(local, "0") {
				return "", phoneError("it has a 0 too many behind the country code")
			}
			number = code + local
		}
	}
	american, ok := strings.CutPrefix(number, countryAmerica)
	switch {
	case len(number) < minDigits || len(number) > maxDigits:
		return "", phoneError(fmt.Sprintf("with its country code it has %d to %d digits", minDigits, maxDigits))
	case number[0] == '0':
		return "", phoneError("no country code begins with 0")
	case ok && (len(american) != 10 || american[0] < '2'):
		return "", phoneError("behind +1 stand an area code and seven digits")
	}
	return "+" + number, nil
}

func phoneError(why string) error {
	return fmt.Errorf("%w: %s; write 010-1234-5678, or a number abroad with + and its country code", ErrPhone, why)
}
