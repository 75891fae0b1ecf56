// Package provision puts what the visit server gives a gate into use: the key its visits are sealed to and the trust list.
// With both a gate can serve visitors, whether or not it can reach the server.
package provision

import (
	"fmt"
	"log/slog"
	"sync"

	"github.com/kipass/kipass/protocol/visit"
)

// Journal is what seals visits.
type Journal interface {
	SetSealKey(visit.SealPublicKey)
}

// Trust is the trust list in force.
type Trust interface {
	Update(signed []byte) error // refuses one that is not the scheme operator's, or older than the one in force
	Version() uint64
}

// Options are where a provision goes. All must be set.
type Options struct {
	Journal Journal
	Trust   Trust
	Begin   func() // puts the gate into service; called after each provision
	Logger  *slog.Logger
}

// Provisioner holds the provision in use. It is safe for concurrent use.
type Provisioner struct {
	opts Options
	mu   sync.Mutex
	seal visit.SealKeyID // zero until the first provision
	done bool
}

// New returns a provisioner without a provision.
func New(opts Options) *Provisioner { return &Provisioner{opts: opts} }

// Apply puts a sealing key (see [visit.ParseSealPublicKey]) and a signed trust list into use, both or neither, and the gate
// into service. A new key begins a new epoch of the journal; the one in use does not.
func (p *Provisioner) Apply(sealKey, trustList []byte) error {
	key, err := visit.ParseSealPublicKey(sealKey)
	if err != nil {
		return fmt.Errorf("provision: %w", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.opts.Trust.Update(trustList); err != nil {
		return fmt.Errorf("provision: %w", err)
	}
	if key.ID() != p.seal {
		p.opts.Journal.SetSealKey(key)
		p.seal = key.ID()
	}
	p.opts.Begin()
	p.done = true
	p.opts.Logger.Info("in service", "trust_list", p.opts.Trust.Version(), "seal_key", p.seal.String())
	return nil
}

// Holding returns the version of the trust list in force and the name of the sealing key in use, both zero for none.
func (p *Provisioner) Holding() (uint64, visit.SealKeyID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.opts.Trust.Version(), p.seal
}

// Done reports whether visitors can be served: a provision is in use.
func (p *Provisioner) Done() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.done
}
