package auditlog

import (
	"fmt"
	"strings"
	"testing"

	"github.com/kipass/kipass/internal/testkit"
)

func TestALogTellsEveryChangeOfARegisterOnce(t *testing.T) {
	dir := t.TempDir()
	l := testkit.Must(Open(dir, testKey(1), origin))(t)
	defer func() { l.Close() }()
	told := 0
	for _, step := range []struct {
		register string
		inForce  map[string]string
		want     string
	}{
		{RegisterOfficers, map[string]string{}, ""},
		{RegisterOfficers, map[string]string{"kim": "01", "lee": "02"}, "+kim 01 +lee 02"},
		{RegisterOfficers, map[string]string{"kim": "01", "lee": "02"}, ""},
		{RegisterManagers, map[string]string{"kim": "09"}, "+kim 09"},
		{RegisterOfficers, map[string]string{"lee": "02"}, "-kim 01"},
		{RegisterOfficers, map[string]string{"lee": "03", "park": "04"}, "-lee 02 +lee 03 +park 04"},
		{RegisterManagers, map[string]string{"kim": "09"}, ""},
		{RegisterManagers, nil, "-kim 09"},
	} {
		// A log that is opened anew knows what it told.
		testkit.Check(t, l.Close())
		l = testkit.Must(Open(dir, testKey(1), origin))(t)
		testkit.Check(t, l.SyncRegister(step.register, step.inForce, start))
		entries, _, err := l.Snapshot()
		testkit.Check(t, err)
		var got []string
		for _, leaf := range Leaves(entries)[told:] {
			e := testkit.Must(ParseEntry(leaf))(t)
			sign := map[bool]string{false: "+", true: "-"}[e.Removed]
			got = append(got, fmt.Sprintf("%s%s %s", sign, e.Name, e.Key))
			if e.Kind != KindRegister || e.Register != step.register || !e.At.Equal(start) {
				t.Errorf("entry %+v", e)
			}
		}
		told += len(got)
		if strings.Join(got, " ") != step.want {
			t.Errorf("%s as %v: told %v, want %s", step.register, step.inForce, got, step.want)
		}
	}
	if err := l.SyncRegister("", nil, start); err == nil {
		t.Error("a register without a name")
	}
}
