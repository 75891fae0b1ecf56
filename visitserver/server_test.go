package visitserver

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kipass/kipass/protocol/auditlog"
	"github.com/kipass/kipass/protocol/visit"
)

func readCounts(t *testing.T, fx *fixture, f visit.Facility, token, day string) (int, DayCounts) {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, "https://"+fx.addr+"/v1/facilities/"+string(f)+"/counts?day="+day, nil)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := fx.client(nil).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	var c DayCounts
	if resp.StatusCode == http.StatusOK {
		if err := json.Unmarshal(b, &c); err != nil {
			t.Fatal(err)
		}
	}
	return resp.StatusCode, c
}

func managerToken(fx *fixture, f visit.Facility) string {
	var out struct{ Token string }
	fx.admin(&out, "manager add", string(f), strings.ToLower(rand.Text()))
	return out.Token
}

func TestVisitsAreStoredOnceAndCounted(t *testing.T) {
	fx := newFixture(t)
	fx.facility("cafe")
	g := fx.gate("cafe", "door")
	a, b := newVisit(noon.Add(-time.Hour)), newVisit(noon.Add(-time.Minute))
	g.journalled(a, b, a)
	first := g.segment(3)
	receipt := g.deliver()
	if len(receipt.Settled.Refused) != 0 || len(receipt.Alerts) != 0 {
		t.Errorf("receipt %+v, want no refusal and no alert", receipt)
	}
	if receipt.SealKey != g.sealKey.ID() || receipt.ServerTime != noon.UnixMilli() || receipt.Heartbeat != 300 {
		t.Errorf("receipt %+v does not name key, time and heartbeat", receipt)
	}
	if again, err := g.send(first); err != nil || again.Settled.Through != 3 || len(again.Alerts) != 0 {
		t.Errorf("the same batch again: %+v, %v", again, err)
	}
	if n := fx.stored("cafe"); n != 2 {
		t.Errorf("stored %d visits, want 2", n)
	}
	want := []HourCount{{"door", 11, 2}}
	for _, when := range []string{"at once", "after a restart"} {
		status, c := readCounts(t, fx, "cafe", managerToken(fx, "cafe"), "2020-07-01")
		if status != http.StatusOK || c.Total != 2 || !slices.Equal(c.Hours, want) {
			t.Errorf("%s: status %d, counts %+v, want %v", when, status, c, want)
		}
		fx.restart()
	}
	row := fx.ledger().Gates[0].Journals[0]
	if row.Last != 3 || row.Stored != 2 || row.Again != 1 || row.Refused != 0 || row.Missing != 0 {
		t.Errorf("ledger %+v, want last 3 = 2 stored and 1 again", row)
	}
}

func TestAManagersTokenEndsAtOnceAndEveryChangeIsLogged(t *testing.T) {
	fx := newFixture(t)
	fx.facility("cafe")
	fx.facility("club")
	tokens := map[string]string{}
	var told []string
	for _, step := range []struct{ command, facility, name, logged string }{
		{"manager add", "cafe", "owner", "cafe/owner false"},
		{"manager add", "cafe", "deputy", "cafe/deputy false"},
		{"manager add", "club", "owner", "club/owner false"},
		{"manager revoke", "cafe", "owner", "cafe/owner true"},
	} {
		var out struct{ Token string }
		fx.admin(&out, step.command, step.facility, step.name)
		told = append(told, step.logged)
		var got []string
		for _, e := range entriesOf(t, fx, auditlog.KindRegister) {
			got = append(got, fmt.Sprint(e.Name, " ", e.Removed))
			if e.Register != auditlog.RegisterManagers || len(e.Key) != 16 {
				t.Errorf("%s: entry %+v", step.command, e)
			}
		}
		if !slices.Equal(got, told) {
			t.Errorf("%s: logged are %v, want %v", step.command, got, told)
		}
		if step.command == "manager revoke" {
			continue
		}
		tokens[step.facility+"/"+step.name] = out.Token
		if status, _ := readCounts(t, fx, visit.Facility(step.facility), out.Token, "2020-07-01"); status != http.StatusOK {
			t.Errorf("%s of %s reads with status %d", step.name, step.facility, status)
		}
	}
	fx.restart()
	var list struct{ Managers map[string]string }
	if fx.admin(&list, "manager list", "cafe"); len(list.Managers) != 1 || list.Managers["deputy"] == "" {
		t.Errorf("managers of cafe are %v", list.Managers)
	}
	if n := len(entriesOf(t, fx, auditlog.KindRegister)); n != len(told) {
		t.Errorf("a restart logs %d changes", n-len(told))
	}
	for name, c := range map[string]struct {
		token  string
		status int
	}{
		"a manager who left":  {tokens["cafe/owner"], http.StatusUnauthorized},
		"a manager who stays": {tokens["cafe/deputy"], http.StatusOK}, "of another facility": {tokens["club/owner"], http.StatusUnauthorized},
	} {
		if status, _ := readCounts(t, fx, "cafe", c.token, "2020-07-01"); status != c.status {
			t.Errorf("%s: status %d, want %d", name, status, c.status)
		}
	}
	for what, args := range map[string][]string{
		"a name twice": {"manager add", "cafe", "deputy"}, "a manager of no facility": {"manager add", "nowhere", "owner"},
		"a name that is free text": {"manager add", "cafe", "카페 주인"}, "nobody revoked": {"manager revoke", "cafe", "owner"},
	} {
		if err := fx.tryAdmin(nil, AdminRequest{Command: args[0], Args: args[1:]}); err == nil {
			t.Errorf("%s: taken", what)
		}
	}
	root, _ := generated(t)
	fx.admin(nil, "trust-root", hex.EncodeToString(root))
	if e := entriesOf(t, fx, auditlog.KindRegister); e[len(e)-1].Register != auditlog.RegisterTrust {
		t.Errorf("the root of the trust list: logged is %+v", e[len(e)-1])
	}
}

func TestManagersSeeTheirOwnCountsOnly(t *testing.T) {
	fx := newFixture(t)
	fx.facility("cafe")
	fx.facility("club")
	cafe, club := managerToken(fx, "cafe"), managerToken(fx, "club")
	for _, c := range []struct {
		rule, token, day string
		facility         visit.Facility
		status           int
	}{
		{"own", cafe, "2020-07-01", "cafe", 200},
		{"own, other facility", club, "2020-07-01", "club", 200},
		{"of another facility", cafe, "2020-07-01", "club", 401},
		{"of no facility", cafe, "2020-07-01", "nowhere", 401},
		{"no token", "", "2020-07-01", "cafe", 401},
		{"made-up token", "AAAAAAAAAAAAAAAAAAAAAAAAAA", "2020-07-01", "cafe", 401},
		{"no day", cafe, "", "cafe", 400},
	} {
		if status, _ := readCounts(t, fx, c.facility, c.token, c.day); status != c.status {
			t.Errorf("%s: status %d, want %d", c.rule, status, c.status)
		}
	}
}
