package visit

import "fmt"

// Facility names one separately entered place, as registered with the visit server: 1 to 32 of a–z, 0–9 and '-'.
type Facility string

// Gate names one terminal of a facility: 1 to 32 of a–z, 0–9 and '-'. It is unique within its facility only.
type Gate string

const maxName = 32

// ParseFacility checks and returns a facility name.
func ParseFacility(s string) (Facility, error) {
	if err := checkName(s); err != nil {
		return "", fmt.Errorf("facility %q: %w", s, err)
	}
	return Facility(s), nil
}

// ParseGate checks and returns a gate name.
func ParseGate(s string) (Gate, error) {
	if err := checkName(s); err != nil {
		return "", fmt.Errorf("gate %q: %w", s, err)
	}
	return Gate(s), nil
}

func checkName(s string) error {
	if len(s) == 0 || len(s) > maxName {
		return fmt.Errorf("must be 1 to %d characters long, is %d", maxName, len(s))
	}
	for _, r := range s {
		if (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' {
			return fmt.Errorf("may hold only a-z, 0-9 and '-', not %q", r)
		}
	}
	return nil
}
