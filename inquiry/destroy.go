package inquiry

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/kipass/kipass/internal/durable"
	"github.com/kipass/kipass/protocol/auditlog"
	"github.com/kipass/kipass/protocol/order"
)

// Destroy destroys everything of an order: its identity first, so that no copy of an answer or of the contact list can
// be read any more, then the files. It is logged before the empty folder goes, so that after a crash it can be called
// again.
func (a *Authority) Destroy(id order.ID) error {
	dir := a.orderDir(id)
	files, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("order %v was not made in this folder, or has been destroyed", id)
	}
	if err != nil {
		return fmt.Errorf("destroying order %v: %w", id, err)
	}
	entry := auditlog.Entry{
		Kind: auditlog.KindDestruction, At: a.now(), Order: id.String(), Note: "key, answers and contact list of the order destroyed",
	}
	list, err := os.ReadFile(filepath.Join(dir, contactsFile))
	if err == nil {
		sum := sha256.Sum256(list)
		entry.Digest = hex.EncodeToString(sum[:])
	} else if !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("destroying order %v: %w", id, err)
	}
	if err := (durable.Disk{}).Erase(filepath.Join(dir, identityFile)); err != nil {
		return fmt.Errorf("destroying the key of order %v: %w", id, err)
	}
	for _, f := range files {
		if err := (durable.Disk{}).Remove(filepath.Join(dir, f.Name())); err != nil {
			return fmt.Errorf("destroying order %v: %w", id, err)
		}
	}
	if _, err := a.audit.Append(entry); err != nil {
		return err
	}
	if err := (durable.Disk{}).Remove(dir); err != nil {
		return fmt.Errorf("destroying order %v: %w", id, err)
	}
	return nil
}
