//go:build nosound || !cgo

package bench

import "errors"

func openBareSound() (play func() error, err error) {
	return nil, errors.New("no voice in this build to compare with")
}
