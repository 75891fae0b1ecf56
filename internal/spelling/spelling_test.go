package spelling

import "testing"

func TestNearest(t *testing.T) {
	names := []string{"data", "listen", "log-level", "secrets"}
	for given, want := range map[string]string{
		"dta": "data", "lisen": "listen", "Listen": "listen", "loglevel": "log-level", "scerets": "secrets",
		"listen": "listen", "colour": "", "x": "", "": "",
	} {
		if got := Nearest(given, names); got != want {
			t.Errorf("Nearest(%q) = %q, want %q", given, got, want)
		}
	}
	if got := Nearest("data", nil); got != "" {
		t.Errorf("nearest of no words = %q", got)
	}
}
