package device

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// Hint tells a technician what some errors of the system mean for one kind of device, and what to do.
type Hint struct {
	words  string
	errors []error
}

// NewHint returns the hint that has these words, for example "no permission: add the gate's user to the group dialout",
// for any of these errors.
func NewHint(words string, errors ...error) Hint { return Hint{words, errors} }

// Unplugged is the hint for a device that was there when its driver looked and then was not.
var Unplugged = NewHint("the device does not answer: is the reader still plugged in?", unix.EIO, unix.ENODEV, unix.ENXIO)

// Hints are the hints of one family. The first that fits counts.
type Hints []Hint

// Explain returns "doing: words (err)", or "doing: err" if no hint fits. It wraps err.
func (h Hints) Explain(doing string, err error) error {
	if words := h.Words(err); words != "" {
		return fmt.Errorf("%s: %s (%w)", doing, words, err)
	}
	return fmt.Errorf("%s: %w", doing, err)
}

// Words returns the words of the first hint that fits, or "".
func (h Hints) Words(err error) string {
	for _, hint := range h {
		for _, known := range hint.errors {
			if errors.Is(err, known) || saysErrno(err, known) {
				return hint.words
			}
		}
	}
	return ""
}

// saysErrno tells whether err has the text of an error number: some libraries keep no more of it.
func saysErrno(err, known error) bool {
	var number unix.Errno
	return errors.As(known, &number) && strings.Contains(err.Error(), number.Error())
}
