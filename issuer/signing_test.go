package issuer

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kipass/kipass/internal/durable"
	"github.com/kipass/kipass/internal/testkit"
	"github.com/kipass/kipass/protocol/auditlog"
	"github.com/kipass/kipass/protocol/token"
)

// listWith is a verified trust list that has these keys of the issuer.
func listWith(keys ...SigningKey) token.TrustList {
	i := token.Issuer{Name: "naver"}
	for _, k := range keys {
		i.Keys = append(i.Keys, token.IssuerKey{Issuer: "naver", Public: k.Public, NotBefore: k.NotBefore, NotAfter: k.NotAfter})
	}
	return token.TrustList{Version: 2, Issuers: []token.Issuer{{Name: "pass"}, i}}
}

// signedBy is the identifier of the key of a fresh code.
func (f *fixture) signedBy(t *testing.T, bearer string) string {
	t.Helper()
	c := testkit.Must(f.Issue(bearer))(t)
	u := testkit.Must(token.Parse([]byte(c.Text)))(t)
	for _, k := range testkit.Must(Describe(f.dir, "", f.clock.Now()))(t).Keys {
		if _, err := u.Verify(trustList{token.KeyID(k.Public): k}); err == nil {
			return token.KeyID(k.Public).String()
		}
	}
	t.Fatal("no gate takes the code")
	return ""
}

func TestAKeySignsOnlyAfterATrustListHadItForAWeek(t *testing.T) {
	f := newFixture(t)
	bearer := f.register(t, testName)
	first := f.signedBy(t, bearer)
	next := testkit.Must(f.operator().RotateKey())(t)
	is := func(when, want string) {
		t.Helper()
		f.signer.watch(f.clock.Now())
		if got := f.signedBy(t, bearer); got != want {
			t.Errorf("%s: signed by %s, want %s", when, got, want)
		}
	}
	is("made", first)
	if _, err := f.operator().RotateKey(); err == nil {
		t.Error("a third key is made while one waits")
	}
	shorter, old := next, testkit.Must(f.operator().Keys())(t)[0].SigningKey
	shorter.NotAfter = shorter.NotAfter.Add(-time.Second)
	for what, list := range map[string]token.TrustList{
		"without the key": listWith(old), "of nobody": {}, "with the key for a shorter time": listWith(old, shorter),
		"with the key under another name": {Issuers: []token.Issuer{{Name: "pass", Keys: listWith(next).Issuers[1].Keys}}},
	} {
		if _, err := f.operator().ActivateKey(list, false); err == nil {
			t.Errorf("a trust list %s puts the key to use", what)
		}
	}
	activated := testkit.Must(f.operator().ActivateKey(listWith(old, next), false))(t)
	if !activated.From.Equal(noon.Add(publishLead)) {
		t.Errorf("used from %v, want a week from now", activated.From)
	}
	is("listed", first)
	f.clock.Set(noon.Add(publishLead - time.Second))
	is("a second before the week is over", first)
	f.clock.Set(noon.Add(publishLead))
	is("after a week", next.ID())
	f.reopen(t, durable.Disk{})
	is("started anew", next.ID())
	if _, err := f.operator().ActivateKey(listWith(old, next), false); err == nil {
		t.Error("a key is put to use twice")
	}
	states := []string{}
	for _, k := range testkit.Must(f.operator().Keys())(t) {
		states = append(states, k.State)
	}
	if got := strings.Join(states, " "); got != "old signs" {
		t.Errorf("keys are %s", got)
	}
}

func TestAKeyThatIsKnownToOthersIsReplacedAtOnce(t *testing.T) {
	f := newFixture(t)
	bearer := f.register(t, testName)
	next := testkit.Must(f.operator().RotateKey())(t)
	testkit.Must(f.operator().ActivateKey(listWith(next), true))(t)
	f.signer.watch(f.clock.Now())
	if got := f.signedBy(t, bearer); got != next.ID() {
		t.Errorf("signed by %s, want the new key", got)
	}
}

func TestNoCodeIsIssuedUnderAnEndedKey(t *testing.T) {
	f := newFixture(t)
	first := testkit.Must(f.operator().Keys())(t)[0]
	f.clock.Set(first.NotBefore.Add(-time.Second))
	if h := f.Health(); h.Issuing || !strings.Contains(h.Warning, "시계") || strings.Contains(h.Warning, "끝나") {
		t.Errorf("before it begins: health = %+v", h)
	}
	f.clock.Set(first.NotAfter)
	bearer := f.register(t, testName)
	if got := f.signedBy(t, bearer); got != first.ID() {
		t.Errorf("in its last second: signed by %s", got)
	}
	f.clock.Set(first.NotAfter.Add(time.Second))
	recorded := testkit.Must(os.ReadDir(f.days.dir))(t)
	if _, err := f.Issue(bearer); !errors.Is(err, ErrKeyEnded) {
		t.Errorf("after its end: %v", err)
	}
	if now := testkit.Must(os.ReadDir(f.days.dir))(t); len(now) != len(recorded) {
		t.Error("a code that was refused is in the issue log")
	}
	if h := f.Health(); h.Issuing || !strings.Contains(h.Warning, "서명 키가 끝나") {
		t.Errorf("health = %+v", h)
	}
	// A key that waits does not help by itself; one that is listed signs at once, for the old one has ended.
	stray := filepath.Join(SecretDir(f.dir, ""), "signing-0011223344556677.key")
	testkit.Check(t, os.WriteFile(stray, []byte("of a command that was interrupted"), 0o600))
	next := testkit.Must(f.operator().RotateKey())(t)
	f.signer.watch(f.clock.Now())
	if _, err := f.Issue(bearer); !errors.Is(err, ErrKeyEnded) {
		t.Errorf("with a key that waits: %v", err)
	}
	testkit.Must(f.operator().ActivateKey(listWith(next), false))(t)
	f.signer.watch(f.clock.Now())
	if got := f.signedBy(t, bearer); got != next.ID() {
		t.Errorf("signed by %s, want the new key", got)
	}
	for _, path := range []string{privatePath(SecretDir(f.dir, ""), first.SigningKey), stray} {
		if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the private half of a key that is in no register: %v", err)
		}
	}
	testkit.Must(f.trusted())(t)
	var told []string
	for _, e := range f.logged(t, auditlog.KindRegister) {
		if e.Register == auditlog.RegisterKeys {
			told = append(told, map[bool]string{false: "+", true: "-"}[e.Removed]+e.Name)
		}
	}
	if got, want := strings.Join(told, " "), "+"+first.ID()+" -"+first.ID()+" +"+next.ID(); got != want {
		t.Errorf("logged are %s, want %s", got, want)
	}
}

func TestANextKeyIsUsedADayBeforeThePresentOneEnds(t *testing.T) {
	f := newFixture(t)
	end := testkit.Must(f.operator().Keys())(t)[0].NotAfter
	f.clock.Set(end.Add(-48 * time.Hour))
	next := testkit.Must(f.operator().RotateKey())(t)
	if k := testkit.Must(f.operator().ActivateKey(listWith(next), false))(t); !k.From.Equal(end.Add(-24 * time.Hour)) {
		t.Errorf("used from %v, want a day before %v", k.From, end)
	}
}

func TestTheEndOfTheKeyIsToldSixtyDaysAhead(t *testing.T) {
	for what, c := range map[string]struct {
		before  time.Duration // the end
		says    string        // in the log; "" for nothing
		warning string        // in health
		status  int
	}{
		"61 days":        {61 * 24 * time.Hour, "", "", http.StatusOK},
		"60 days":        {60 * 24 * time.Hour, "the signing key ends soon", "60일 뒤", http.StatusOK},
		"a day":          {24 * time.Hour, "the signing key ends soon", "1일 뒤", http.StatusOK},
		"a second after": {-time.Second, "the signing key has ended", "kipass-issuer keys", http.StatusServiceUnavailable},
	} {
		t.Run(what, func(t *testing.T) {
			f := newFixture(t)
			end := testkit.Must(f.operator().Keys())(t)[0].NotAfter
			f.clock.Set(end.Add(-c.before))
			r := serve(t, f, RegisterOpen)
			testkit.Eventually(t, "the keys are looked after", func() bool {
				return c.says == "" || strings.Contains(r.log.String(), c.says)
			})
			if c.says == "" && strings.Contains(r.log.String(), "signing key") {
				t.Errorf("the log says %s", r.log)
			}
			status, body := r.get(t, PathHealth)
			if status != c.status || c.warning != "" && !strings.Contains(body, c.warning) || c.warning == "" && strings.Contains(body, "warning") {
				t.Errorf("health: %d %s", status, body)
			}
			issuing := map[int]string{http.StatusOK: "kipass_issuer_issuing 1\n", http.StatusServiceUnavailable: "kipass_issuer_issuing 0\n"}[c.status]
			if status, body := r.get(t, PathMetrics); status != http.StatusOK || !strings.Contains(body, issuing) {
				t.Errorf("metrics: %d %s", status, body)
			}
			_, bearer := r.register(t, `{"name":"`+testName+`","phone":"`+testPhone+`","consent":true}`)
			resp, b := r.post(t, PathCodes, "", bearer, nil)
			if resp.StatusCode != c.status || c.status != http.StatusOK &&
				(!strings.Contains(string(b), `"not-issuing"`) || !strings.Contains(string(b), "수기명부") || resp.Header.Get("Retry-After") == "") {
				t.Errorf("a code: %s %s", resp.Status, b)
			}
		})
	}
}

func TestTheEndIsToldOnceADay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		logger, log := testkit.NewLogger()
		dir := t.TempDir()
		now := time.Now()
		testkit.Check(t, Init(dir, "", About{Name: "naver", Hosts: []string{"127.0.0.1"}}, now.Add(-keyLife+30*24*time.Hour)))
		s := testkit.Must(openSigner(dir, SecretDir(dir, ""), logger))(t)
		for range 3 * 24 * 60 {
			s.watch(now)
			now = now.Add(keyPause)
		}
		if n := log.Count("ends soon"); n < 3 || n > 4 {
			t.Errorf("told %d times in three days", n)
		}
	})
}
