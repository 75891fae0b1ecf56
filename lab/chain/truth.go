package chain

import (
	"slices"
	"sync"

	"github.com/kipass/kipass/protocol/visit"
)

// truth is what the lab saw with its own eyes. Every visitor shows one code only, so that a visitor's number stands for it.
type truth struct {
	mu         sync.Mutex
	outcomes   map[visit.Outcome]int
	green      map[string]string // number → name of visitors who were shown green for a code of theirs
	unsure     map[string]string // of visitors who showed a good code and saw no green: stored or not
	wrong      []surprise        // outcomes that should not have been
	falseGreen int               // greens that should not have been
	lateGreen  int               // greens shown when somebody else may stand there
}

// surprise is an outcome that the act should not have had.
type surprise struct {
	Act  string `json:"act"`
	Got  string `json:"got"`
	Want string `json:"want"`
}

func newTruth() *truth {
	return &truth{outcomes: map[visit.Outcome]int{}, green: map[string]string{}, unsure: map[string]string{}}
}

// saw records the outcomes of one scan. name and number are the visitor's, empty where there is none.
func (t *truth) saw(a act, outcomes, expected []visit.Outcome, name, number string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, o := range outcomes {
		t.outcomes[o]++
		if !slices.Contains(expected, o) {
			t.surprised(o, surprise{Act: a.String(), Got: o.String(), Want: expected[0].String()})
		}
	}
	if number == "" {
		return
	}
	if slices.ContainsFunc(outcomes, visit.Outcome.Green) {
		t.green[number] = name
		delete(t.unsure, number)
	} else {
		t.doubt(name, number)
	}
}

// sawUncaused records an outcome although nobody had shown anything.
func (t *truth) sawUncaused(o visit.Outcome) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.surprised(o, surprise{Act: "nothing", Got: o.String(), Want: "nothing"})
}

func (t *truth) surprised(by visit.Outcome, s surprise) {
	if by.Green() {
		t.falseGreen++
	}
	t.wrong = append(t.wrong, s)
}

// sawLate records a green that came too late.
func (t *truth) sawLate() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lateGreen++
}

// missed records that a good code was shown and no outcome was seen.
func (t *truth) missed(name, number string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.doubt(name, number)
}

func (t *truth) doubt(name, number string) {
	if _, ok := t.green[number]; !ok {
		t.unsure[number] = name
	}
}

// contact is one person of a contact list, with a visit for each code of theirs that was scanned.
type contact struct {
	Name   string     `json:"name"`
	Phone  string     `json:"phone"`
	Visits []struct{} `json:"visits"`
}

// verdict is the truth held against a contact list.
type verdict struct {
	lost       int // shown green, but not in the list
	duplicated int // in the list more than once
	strangers  int // in the list, but never shown green nor unsure, or under another name
	traced     int // visits in the list
	opened     int // holders in the list who should be there
	truth      int // visits that should be in the list: all green ones and those of the unsure that were stored
}

func (t *truth) against(list []contact) verdict {
	t.mu.Lock()
	defer t.mu.Unlock()
	rows := map[string]int{}
	var v verdict
	for _, c := range list {
		rows[c.Phone] += len(c.Visits)
		v.traced += len(c.Visits)
		name, green := t.green[c.Phone]
		if !green {
			name = t.unsure[c.Phone]
		}
		if name == "" || name != c.Name {
			v.strangers += len(c.Visits)
		} else if len(c.Visits) > 0 {
			v.opened++
		}
	}
	for number := range t.green {
		v.truth++
		if rows[number] == 0 {
			v.lost++
		}
	}
	for number := range t.unsure {
		if rows[number] > 0 {
			v.truth++
		}
	}
	for _, n := range rows {
		v.duplicated += n - 1
	}
	return v
}

// greens returns how many visitors were shown green.
func (t *truth) greens() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.green)
}

func (t *truth) counts() map[string]int {
	t.mu.Lock()
	defer t.mu.Unlock()
	counts := map[string]int{}
	for o, n := range t.outcomes {
		counts[o.String()] = n
	}
	return counts
}

// scans returns how many outcomes were seen.
func (t *truth) scans() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := 0
	for _, k := range t.outcomes {
		n += k
	}
	return n
}
