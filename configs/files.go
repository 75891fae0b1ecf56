package configs

import (
	"crypto/x509"
	"errors"
	"fmt"
	"os"
)

// CheckFiles looks at the files and folders the configuration names and returns every problem with them. A gate serves
// visitors without them, which is why Load does not ask: the certificate authority may come later, and missing
// recordings fall back to those shipped.
func (g Gate) CheckFiles() error {
	var errs []error
	if path := g.Server.CA; path != "" {
		pem, err := os.ReadFile(path)
		switch {
		case err != nil:
			errs = append(errs, fmt.Errorf("server.ca: %w", err))
		case !x509.NewCertPool().AppendCertsFromPEM(pem):
			errs = append(errs, fmt.Errorf("server.ca: %s holds no PEM certificate", path))
		}
	}
	for _, folder := range [][2]string{{"gate.state", g.Place.State}, {"speaker.clips", g.Speaker.Clips}} {
		key, path := folder[0], folder[1]
		if path == "" {
			continue
		}
		info, err := os.Stat(path)
		switch {
		case key == "gate.state" && errors.Is(err, os.ErrNotExist): // the gate makes it
		case err != nil:
			errs = append(errs, fmt.Errorf("%s: %w", key, err))
		case !info.IsDir():
			errs = append(errs, fmt.Errorf("%s: %s is not a folder", key, path))
		}
	}
	return errors.Join(errs...)
}
