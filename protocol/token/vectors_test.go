package token_test

import (
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"flag"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kipass/kipass/internal/testkit"
	"github.com/kipass/kipass/protocol/token"
)

var update = flag.Bool("update", false, "write testdata/vectors.json anew")

const vectorFile = "testdata/vectors.json"

// vectors is the published file. Everything in it follows from the keys, so writing it anew changes nothing.
type vectors struct {
	About     string            `json:"about"`
	Root      vectorKey         `json:"root"`
	Issuers   []vectorKey       `json:"issuers"`
	Codes     []vectorCode      `json:"codes"`
	Freshness []vectorFreshness `json:"freshness"`
	Lists     []vectorList      `json:"trust_lists"`
	Updates   []vectorUpdate    `json:"trust_list_updates"`
}

type vectorKey struct {
	Name      string `json:"name,omitempty"`
	Seed      string `json:"seed"`
	Public    string `json:"public"`
	KID       string `json:"kid"`
	NotBefore *int64 `json:"not_before,omitempty"` // issuers only
	NotAfter  *int64 `json:"not_after,omitempty"`
}

type vectorCode struct {
	Name   string `json:"name"`
	Class  string `json:"class"`
	Reason string `json:"reason,omitempty"`
	Text   string `json:"text"`
	Issuer string `json:"issuer,omitempty"`
	Iat    int64  `json:"iat,omitempty"`
	CTI    string `json:"cti,omitempty"`
	COSE   string `json:"cose,omitempty"` // what the text decodes to
}

type vectorFreshness struct {
	Name string `json:"name"`
	Code string `json:"code"`    // name of a code
	Now  int64  `json:"now_ns"`  // nanoseconds since 1970
	Skew int64  `json:"skew_ns"` // δ in nanoseconds
	Want string `json:"want"`
}

type vectorList struct {
	Name    string `json:"name"`
	Class   string `json:"class"` // "accepted" or "refused"
	Reason  string `json:"reason,omitempty"`
	Version uint64 `json:"version,omitempty"`
	Signed  string `json:"signed"`
}

// vectorUpdate is one step of a single gate's history.
type vectorUpdate struct {
	List  string `json:"list"` // name of a trust list
	Want  string `json:"want"` // "accepted", "refused" or "rollback"
	Holds uint64 `json:"holds"`
}

func TestVectorFileIsWhatTheKeysMake(t *testing.T) {
	testkit.CheckVectors(t, vectorFile, makeVectors(t), *update)
}

func makeVectors(t *testing.T) vectors {
	v := vectors{
		About: "Entry codes and trust lists of token/SPEC.md. Seeds are Ed25519 private keys (RFC 8032 section 5.1.5). A code's class is what Parse and Verify must say with the issuers listed here; reason is for people.",
		Root:  keyVector("", rootKey, time.Time{}, time.Time{}),
	}
	for i, key := range []ed25519.PrivateKey{issuerKey, longKey, shortKey, narrowKey} {
		k := ringKeys()[i]
		v.Issuers = append(v.Issuers, keyVector(k.Issuer, key, k.NotBefore, k.NotAfter))
	}
	for _, c := range allCases() {
		code := vectorCode{Name: c.name, Class: c.class, Reason: c.reason, Text: c.text}
		if c.class == classGenuine {
			u, err := token.Parse([]byte(c.text))
			if err != nil {
				t.Fatalf("%s: %v", c.name, err)
			}
			got, err := u.Verify(newRing())
			if err != nil {
				t.Fatalf("%s: %v", c.name, err)
			}
			cti := got.CTI()
			code.Issuer, code.Iat, code.CTI = got.Issuer(), got.IssuedAt().Unix(), hex.EncodeToString(cti[:])
			code.COSE = hex.EncodeToString(rawOf(t, c.text))
		}
		v.Codes = append(v.Codes, code)
	}
	for _, f := range freshnessCases() {
		v.Freshness = append(v.Freshness, vectorFreshness{f.name, "an ordinary code", f.now.UnixNano(), int64(f.skew), f.want.String()})
	}
	for _, l := range listCases(t) {
		v.Lists = append(v.Lists, vectorList{l.name, l.class, l.reason, l.version, hex.EncodeToString(l.raw)})
	}
	v.Updates = updateHistory()
	return v
}

func keyVector(name string, key ed25519.PrivateKey, from, to time.Time) vectorKey {
	k := vectorKey{Name: name, Seed: hex.EncodeToString(key.Seed()), Public: hex.EncodeToString(public(key)), KID: token.KeyID(public(key)).String()}
	if name != "" {
		k.NotBefore, k.NotAfter = new(from.Unix()), new(to.Unix())
	}
	return k
}

func allCases() []codeCase {
	return slices.Concat(genuineCodes(), textCases(), envelopeCases(), signatureCases(), claimCases())
}

func readVectors(t testing.TB) vectors {
	t.Helper()
	return testkit.ReadVectors[vectors](t, vectorFile)
}

// ringOf uses nothing but the file.
func ringOf(t testing.TB, v vectors) ring {
	r := ring{}
	for _, k := range v.Issuers {
		pub := ed25519.PublicKey(testkit.Unhex(t, k.Public))
		if got := token.KeyID(pub).String(); got != k.KID {
			t.Fatalf("key identifier of %s is %s, want %s", k.Name, got, k.KID)
		}
		r[token.KeyID(pub)] = token.IssuerKey{Issuer: k.Name, Public: pub, NotBefore: time.Unix(*k.NotBefore, 0), NotAfter: time.Unix(*k.NotAfter, 0)}
	}
	return r
}

func TestCodeVectors(t *testing.T) {
	v := readVectors(t)
	keys := ringOf(t, v)
	seen := map[string]int{}
	for _, c := range v.Codes {
		seen[c.Class]++
		t.Run(c.Name, func(t *testing.T) {
			code, class, err := judge(c.Text, keys)
			if class != c.Class {
				t.Fatalf("class %s (%v), want %s", class, err, c.Class)
			}
			if class != classGenuine {
				if !strings.Contains(err.Error(), c.Reason) {
					t.Errorf("refused with %q, want a reason with %q", err, c.Reason)
				}
				if code != (token.Code{}) {
					t.Error("a Code beside an error")
				}
				return
			}
			cti := code.CTI()
			if code.Issuer() != c.Issuer || code.IssuedAt().Unix() != c.Iat || hex.EncodeToString(cti[:]) != c.CTI {
				t.Errorf("claims differ from the vector's: %v", code)
			}
			if hex.EncodeToString(rawOf(t, c.Text)) != c.COSE {
				t.Error("the text decodes to other bytes than the vector's")
			}
			again, err := token.Sign(seedOf(t, v, c.Issuer), c.Issuer, time.Unix(c.Iat, 0), cti)
			if err != nil || again != c.Text {
				t.Errorf("signing the same claims gives another text (%v)", err)
			}
		})
	}
	for _, class := range []string{classGenuine, classNotACode, classUnknown, classForged} {
		if seen[class] == 0 {
			t.Errorf("no vector of class %s", class)
		}
	}
}

func seedOf(t *testing.T, v vectors, name string) ed25519.PrivateKey {
	for _, k := range v.Issuers {
		if k.Name == name {
			return ed25519.NewKeyFromSeed(testkit.Unhex(t, k.Seed))
		}
	}
	t.Fatalf("no issuer %s", name)
	return nil
}

// judge returns the class of the error, which must be of exactly one.
func judge(text string, keys token.Keyring) (token.Code, string, error) {
	u, err := token.Parse([]byte(text))
	var code token.Code
	if err == nil {
		code, err = u.Verify(keys)
	} else if !errors.Is(err, token.ErrNotACode) {
		return code, "Parse with a wrong class", err
	}
	switch a, b, c := errors.Is(err, token.ErrNotACode), errors.Is(err, token.ErrUnknownIssuer), errors.Is(err, token.ErrNotGenuine); {
	case err == nil:
		return code, classGenuine, nil
	case a && !b && !c:
		return code, classNotACode, err
	case b && !a && !c:
		return code, classUnknown, err
	case c && !a && !b:
		return code, classForged, err
	default:
		return code, "no class, or several", err
	}
}

func TestFreshnessVectors(t *testing.T) {
	v := readVectors(t)
	keys := ringOf(t, v)
	for _, f := range v.Freshness {
		t.Run(f.Name, func(t *testing.T) {
			i := slices.IndexFunc(v.Codes, func(c vectorCode) bool { return c.Name == f.Code })
			code, _, err := judge(v.Codes[i].Text, keys)
			if err != nil {
				t.Fatal(err)
			}
			if got := code.Fresh(time.Unix(0, f.Now), time.Duration(f.Skew)); got.String() != f.Want {
				t.Errorf("%v, want %s", got, f.Want)
			}
		})
	}
}

func TestTrustListVectors(t *testing.T) {
	v := readVectors(t)
	root := ed25519.PublicKey(testkit.Unhex(t, v.Root.Public))
	signed := map[string][]byte{}
	for _, l := range v.Lists {
		signed[l.Name] = testkit.Unhex(t, l.Signed)
		t.Run(l.Name, func(t *testing.T) {
			list, err := token.OpenTrustList(root, testkit.Unhex(t, l.Signed))
			if l.Class == classAccepted {
				if err != nil || list.Version != l.Version {
					t.Fatalf("version %d (%v), want %d", list.Version, err, l.Version)
				}
				again, err := token.SignTrustList(ed25519.NewKeyFromSeed(testkit.Unhex(t, v.Root.Seed)), list)
				if err != nil || hex.EncodeToString(again) != l.Signed {
					t.Errorf("signing the same list gives other bytes (%v)", err)
				}
				return
			}
			if !errors.Is(err, token.ErrTrustList) || !strings.Contains(err.Error(), l.Reason) {
				t.Fatalf("%v, want a refusal with %q", err, l.Reason)
			}
			if list.Version != 0 || list.Issuers != nil {
				t.Error("a list beside an error")
			}
		})
	}
	trust := token.NewTrust(root)
	for i, step := range v.Updates {
		err := trust.Update(signed[step.List])
		got := classAccepted
		if errors.Is(err, token.ErrRollback) && errors.Is(err, token.ErrTrustList) {
			got = "rollback"
		} else if errors.Is(err, token.ErrTrustList) {
			got = classRefused
		} else if err != nil {
			got = "unclassed: " + err.Error()
		}
		if got != step.Want || trust.Version() != step.Holds {
			t.Fatalf("step %d, %s: %s, holds version %d; want %s and %d", i, step.List, got, trust.Version(), step.Want, step.Holds)
		}
	}
}
