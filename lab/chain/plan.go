package chain

import "math/rand/v2"

// act is one kind of thing that happens in front of a gate.
type act uint8

const (
	actEntry   act = iota // a fresh code, once
	actHeld               // a fresh code read several times while it is held in front of the reader
	actAgain              // an admitted code, shown again a little later
	actStale              // a code shown after its time
	actTorn               // a frame that breaks off, then the whole code
	actForeign            // another barcode
	actForged             // a real code with a changed signature
	actUnknown            // a well-formed code of an issuer nobody knows
)

// mix says how many of a hundred scans are of each kind; the rest are plain entries.
var mix = []struct {
	act   act
	share int
}{{actHeld, 8}, {actAgain, 6}, {actStale, 6}, {actTorn, 5}, {actForeign, 6}, {actForged, 4}, {actUnknown, 4}}

// plan returns the acts of a run in order. It begins with an entry and depends on the seed alone.
func plan(scans int, seed uint64) []act {
	rng := rand.New(rand.NewPCG(seed, 0))
	acts := make([]act, scans)
	for i := range acts {
		roll := rng.IntN(100)
		for _, m := range mix {
			if roll < m.share {
				acts[i] = m.act
				break
			}
			roll -= m.share
		}
	}
	if scans > 0 {
		acts[0] = actEntry
	}
	return acts
}

// familyNames and givenNames make up the visitors of a run.
var (
	familyNames = []string{"김", "이", "박", "최", "정", "강", "조", "윤", "장", "임"}
	givenNames  = []string{"민준", "서연", "도윤", "하은", "시우", "지우", "예준", "수아", "주원", "지호", "하윤", "채원"}
)

// person returns the name and number (E.164) of the i-th visitor; numbers are all different.
func person(i int) (name, number string) {
	name = familyNames[i%len(familyNames)] + givenNames[i/len(familyNames)%len(givenNames)]
	digits := []byte("+821000000000")
	for k, n := len(digits)-1, i; n > 0; k, n = k-1, n/10 {
		digits[k] = byte('0' + n%10)
	}
	return name, string(digits)
}

var actNames = [...]string{
	actEntry: "entry", actHeld: "held", actAgain: "again", actStale: "stale",
	actTorn: "torn", actForeign: "foreign", actForged: "forged", actUnknown: "unknown",
}

// String names the act for the summary.
func (a act) String() string { return actNames[a] }
