package sim

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"
)

// In some worlds the certificates of gates live for days only, so that they have to be renewed again and again, whatever goes
// wrong: answers are lost, clocks wrong, gates offline for longer than a certificate lives, and servers restored as they were
// before a renewal.

const daylong = 24 * time.Hour

// certificateLife draws how long the certificates of a world live, 0 for longer than any run.
func certificateLife(opts Options) time.Duration {
	switch {
	case opts.Sabotage == lostRenewals:
		return 2 * daylong
	case opts.Seed%5 != 0 || opts.Sabotage != "":
		return 0
	}
	return 3*daylong + time.Duration(rand.New(rand.NewPCG(opts.Seed, 3)).Int64N(int64(12*daylong)))
}

// certificates holds every gate that has reached its server for hours to having a certificate that is good, and looks whether
// it is another one.
func (w *world) certificates() {
	for _, g := range w.gates {
		leaf, err := g.certificate()
		if err != nil {
			w.violated("the certificate of %s: %v", g.name, err)
			continue
		}
		if leaf == nil {
			continue
		}
		if g.leaf == nil || !g.leaf.Equal(leaf) {
			w.trace("%s has a certificate until %v", g.name, leaf.NotAfter)
			w.report.Certificates++
		}
		g.leaf = leaf
		if ago := time.Since(leaf.NotAfter); ago > 0 && w.sound(g) && time.Since(g.cutOff) > soundAfter {
			w.violated("%s has a certificate that ran out %v ago", g.name, ago)
		}
	}
}

// certificate reads the certificate that the gate keeps; nil: none.
func (g *gateParty) certificate() (*x509.Certificate, error) {
	text, err := os.ReadFile(filepath.Join(g.config.Place.State, "identity", "terminal.pem"))
	if os.IsNotExist(err) {
		return nil, nil
	}
	for err == nil {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			return nil, fmt.Errorf("there is none in the file")
		}
		if block.Type == "CERTIFICATE" {
			return x509.ParseCertificate(block.Bytes)
		}
	}
	return nil, err
}
