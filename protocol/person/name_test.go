package person_test

import (
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/kipass/kipass/protocol/person"
)

func TestSpellingsOfAName(t *testing.T) {
	longest := strings.Repeat("각", person.MaxName)
	for want, spellings := range map[string][]string{
		"김철수": {
			"김철수", norm.NFD.String("김철수"), "  김철수\u3000", "김철수\u200b", "\u200e김철수\u200f", "\u202e김철수\u202c", "\u2067김철수\u2069",
			"\ufeff김철수", "김\u00ad철수", "김철수\u3164", "김철수\r\n", "김철\u2060수", "김철수\ufe0f",
		},
		"Li Wei":              {"Li Wei", "  Li   Wei ", "Li\u00a0Wei", "Li\tWei", "Li\u3000Wei", "Ｌｉ　Ｗｅｉ", "Li\u2028Wei"},
		"José Ñu":             {"José Ñu", "Jose\u0301 N\u0303u"},
		"Trần Thị Ấn":         {"Trần Thị Ấn", norm.NFD.String("Trần Thị Ấn")},
		"が ぱ":                 {"か\u3099 は\u309a"},
		"O’Neil-Šimůnek, Jr.": {norm.NFD.String("O’Neil-Šimůnek, Jr.")},
		longest:               {longest, norm.NFD.String(longest)},
		"𠮷野":                  {"𠮷野", "𠮷\U000e0100野"},
	} {
		for _, s := range spellings {
			if got, err := person.Name(s); got != want || err != nil {
				t.Errorf("Name(%+q) = %+q, %v, want %+q", s, got, err, want)
			}
		}
	}
}

func TestWhatIsNoName(t *testing.T) {
	for rule, s := range map[string]string{
		"nothing":               "",
		"spaces":                " \u3000\t",
		"invisible signs":       "\u200b\u3164\u2060",
		"no letter":             "12-34 .",
		"marks without letters": "\u0301\u0302",
		"a null":                "a\x00b",
		"an escape":             "김\x1b[31m철수",
		"a C1 control":          "김\u0090철수",
		"for private use":       "김\ue000철수",
		"of no meaning":         "김\U000effff철수",
		"not UTF-8":             "\xff김철수",
		"cut UTF-8":             "김철수"[:8],
		"a letter too long":     strings.Repeat("가", person.MaxName+1),
		"very long":             strings.Repeat("e\u0301", 100_000),
		"one letter of marks":   "e" + strings.Repeat("\u0301", person.MaxName),
	} {
		got, err := person.Name(s)
		if !errors.Is(err, person.ErrName) || got != "" {
			t.Errorf("%s: Name = %q, %v", rule, got, err)
			continue
		}
		if s != "" && strings.Contains(err.Error(), s) || !strings.Contains(err.Error(), "write") {
			t.Errorf("%s: the error echoes the name, or does not say what to write: %v", rule, err)
		}
	}
}

// TestOneNameInSeveralForms: what two people who type in one name do differently.
func TestOneNameInSeveralForms(t *testing.T) {
	for _, same := range [][]string{
		{"김철수", "김 철수", norm.NFD.String("김철수"), " 김  철수 ", "김철수\u200e"},
		{"Kim Chul-Soo", "KIM CHUL-SOO", "kim chul-soo", "Kim  Chul-soo", "ＫＩＭ ＣＨＵＬ－ＳＯＯ"},
		{"Straße", "STRAßE"},
	} {
		for _, s := range same {
			if person.Key(s) != person.Key(same[0]) {
				t.Errorf("%q and %q are compared as two", same[0], s)
			}
		}
	}
	for _, pair := range [][2]string{{"김철수", "김철호"}, {"Kim Chul-Soo", "Kim Chul"}, {"José", "Jose"}, {"\xff", "\xfe"}, {"a\x00b", "ab"}} {
		if person.Key(pair[0]) == person.Key(pair[1]) {
			t.Errorf("%q and %q are compared as one", pair[0], pair[1])
		}
	}
}

func FuzzName(f *testing.F) {
	for _, s := range []string{"김철수", "Jose\u0301", "\u3164", "a\xff", "Ｌｉ　Ｗｅｉ"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := person.Name(s)
		if err != nil {
			if got != "" || !errors.Is(err, person.ErrName) {
				t.Errorf("Name(%q) = %q, %v", s, got, err)
			}
			return
		}
		if n := utf8.RuneCountInString(got); n == 0 || n > person.MaxName || !norm.NFC.IsNormalString(got) || got != strings.TrimSpace(got) {
			t.Errorf("Name(%q) = %q", s, got)
		}
		if again, err := person.Name(got); again != got || err != nil {
			t.Errorf("Name(%q) = %q, Name of it %q, %v", s, got, again, err)
		}
		if person.Key(got) != person.Key(s) {
			t.Errorf("%q and what it becomes are compared as two", s)
		}
	})
}
