package visitserver

import (
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"testing"
	"time"

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
	fx.admin(&out, "manager-token", string(f))
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
