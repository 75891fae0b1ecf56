// Package issuer is a QR issuer: it keeps who holds a code, and never where one was shown. Holders consent once, are
// given one-time codes on request, and each code is in a durable, sealed issue log before it is given out. For an order
// of the health authority, and only then, codes are opened. Everything of a day is destroyed 28 days after it.
package issuer

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/kipass/kipass/internal/daykey"
	"github.com/kipass/kipass/internal/durable"
	"github.com/kipass/kipass/internal/guard"
	"github.com/kipass/kipass/internal/loglimit"
	"github.com/kipass/kipass/protocol/auditlog"
	"github.com/kipass/kipass/protocol/day"
	"github.com/kipass/kipass/protocol/order"
	"github.com/kipass/kipass/protocol/token"
)

// Registrar decides whether someone may be registered under a phone number. Checking the number by a message sent to it
// is a Registrar of its own; see [OpenRegistration] and, for tokens, [Registers.AddToken].
type Registrar interface {
	// Admit returns an error wrapping ErrIdentity if proof does not show that the applicant has that phone.
	Admit(ctx context.Context, id Identity, proof string) error
}

// Options are what an [Issuer] needs besides its folder.
type Options struct {
	Registrar      Registrar
	CodesPerMinute int                  // to one holder, sustained and at once; 0 sets no limit
	Now            func() time.Time     // nil: time.Now
	Elapsed        func() time.Duration // running time that nobody can set; nil: the kernel's, from Now if that is given
	Synced         func() bool          // whether an NTP daemon vouches for Now; nil: the kernel, nobody if Now is given
	Logger         *slog.Logger
	Space          Space // nil: there is always space
}

// Space tells whether there is space to store more, see package diskspace.
type Space interface {
	Check() error            // wraps diskspace.ErrFull if there is none
	Run(ctx context.Context) // looks after it until ctx ends
}

// room returns an error if nothing more is stored.
func (i *Issuer) room() error {
	if i.opts.Space == nil {
		return nil
	}
	return i.opts.Space.Check()
}

// maxWarnings is how many lines a minute the log takes about questions of one kind that were refused.
const maxWarnings = 10

// Issuer is an open issuer. It is safe for concurrent use; one process may have a folder open.
type Issuer struct {
	opts      Options
	about     About
	secrets   secrets
	registers registers
	keys      *keyring
	days      *dayFiles
	accounts  *accounts
	audit     *auditlog.Log
	guard     *guard.Clock
	signer    *signer
	rate      *rateLimiter

	alarms    loglimit.Limiter // of what is logged about days that are not destroyed
	strangers loglimit.Limiter // of what may be said of anybody's questions
	refused   order.Refused    // that the audit log tells of
}

// Open opens the issuer in the folder dir, made by [Init]. secretDir holds its secrets, see [SecretDir].
func Open(dir, secretDir string, opts Options) (*Issuer, error) {
	return open(dir, secretDir, opts, durable.Disk{})
}

func open(dir, secretDir string, opts Options, disk durable.Disk) (*Issuer, error) {
	clock := guard.Options{Now: opts.Now, Elapsed: opts.Elapsed, Synced: opts.Synced, Logger: opts.Logger}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	about, err := readAbout(dir)
	if err != nil {
		return nil, err
	}
	s, err := readSecrets(SecretDir(dir, secretDir))
	if err != nil {
		return nil, err
	}
	signer, err := openSigner(dir, SecretDir(dir, secretDir), opts.Logger)
	if err != nil {
		return nil, err
	}
	keys, err := daykey.Open(filepath.Join(dir, "keys"), s.master, deriveDay, disk)
	if err != nil {
		return nil, err
	}
	keys.Damaged = func(d day.Day, path string) {
		opts.Logger.Error("day key is damaged; it was set aside and another one made", "day", d.String(), "path", path)
	}
	audit, err := auditlog.Open(filepath.Join(dir, "audit"), s.logKey, about.auditOrigin())
	if err != nil {
		return nil, err
	}
	if n := audit.Cut(); n > 0 {
		opts.Logger.Warn("audit log: an append was interrupted; its unsigned rest was cut off", "bytes", n)
	}
	if err := forbidDestroyed(keys, audit); err != nil {
		return nil, errors.Join(err, audit.Close())
	}
	if _, err := (registers{dir}).sync(audit, opts.Now()); err != nil {
		return nil, errors.Join(err, audit.Close())
	}
	if err := disk.Sweep(filepath.Join(dir, "days")); err != nil {
		return nil, errors.Join(err, audit.Close())
	}
	held := &storeFile{path: filepath.Join(dir, "accounts.db"), disk: disk, log: opts.Logger}
	accounts, err := openAccounts(held, s.master, keys)
	if err != nil {
		return nil, errors.Join(err, audit.Close())
	}
	guard := guard.Open(filepath.Join(dir, "clock"), clock)
	return &Issuer{
		opts: opts, about: about, secrets: s, registers: registers{dir}, keys: keys,
		days:     &dayFiles{dir: filepath.Join(dir, "days"), disk: disk, log: opts.Logger, files: map[day.Day]*storeFile{}},
		accounts: accounts, audit: audit, guard: guard, signer: signer, rate: newRateLimiter(opts.CodesPerMinute, opts.Now),
		strangers: loglimit.Limiter{Burst: maxWarnings},
		alarms:    loglimit.Limiter{Every: alarmEvery, Now: opts.Now},
	}, nil
}

// forbidDestroyed keeps days that were destroyed from getting a new key when the clock is set back.
func forbidDestroyed(keys *keyring, audit *auditlog.Log) error {
	days, err := destroyedDays(audit)
	if err != nil {
		return err
	}
	for _, text := range days {
		d, err := day.Parse(text)
		if err != nil {
			return fmt.Errorf("audit log: %w", err)
		}
		keys.Forbid(d)
	}
	return nil
}

// Close closes all files. No other method may be running.
func (i *Issuer) Close() error {
	return errors.Join(i.days.close(), i.accounts.file.close(), i.audit.Close(), i.guard.Close())
}

// Register makes an account and returns its bearer secret, which is never shown again. Errors wrap ErrConsent, ErrIdentity or
// those of package person where the applicant can do something about it.
func (i *Issuer) Register(ctx context.Context, q RegisterRequest) (bearer string, err error) {
	if !q.Consent {
		return "", ErrConsent
	}
	if err := i.room(); err != nil {
		return "", err
	}
	id, err := NewIdentity(q.Name, q.Phone)
	if err != nil {
		return "", err
	}
	if _, err := i.trusted(); err != nil { // no token admits anybody that the log does not tell of
		return "", err
	}
	if err := i.opts.Registrar.Admit(ctx, id, q.Proof); err != nil {
		return "", err
	}
	now := i.opts.Now()
	var r ref
	_, _ = rand.Read(r[:]) // never fails: crypto/rand ends the program instead
	bearer = newBearer()
	if err := i.accounts.put(bearer, newHolder(r, id, now), day.Of(now)); err != nil {
		return "", err
	}
	return bearer, nil
}

// Issued is a code that was given out.
type Issued struct {
	Text      string // what the QR code shows
	IssuedAt  time.Time
	ExpiresAt time.Time
}

// Issue makes a code for the account of bearer, new each time, and returns it once the issue log holds it durably.
// Errors wrap ErrUnknown or ErrTooMany where the holder can do something about it, and ErrKeyEnded where no key may sign.
func (i *Issuer) Issue(bearer string) (Issued, error) {
	if err := i.room(); err != nil {
		return Issued{}, err
	}
	h, sealedOn, err := i.accounts.get(bearer)
	if err != nil {
		return Issued{}, err
	}
	if !i.rate.allow(h.ref()) {
		return Issued{}, ErrTooMany
	}
	iat := i.opts.Now().Truncate(time.Second)
	key, err := i.signer.keyOf(iat)
	if err != nil {
		return Issued{}, err
	}
	day := day.OfCode(iat)
	k, err := i.keys.Make(day)
	if err != nil {
		return Issued{}, err
	}
	cti := sealRef(k.cti, i.about.Name, h.ref())
	if err := i.days.record(k, day, h, cti, iat); err != nil {
		return Issued{}, fmt.Errorf("recording a code: %w", err)
	}
	if sealedOn < day {
		if err := i.accounts.put(bearer, h, day); err != nil {
			return Issued{}, err
		}
	}
	text, err := token.Sign(key, i.about.Name, iat, cti)
	if err != nil {
		return Issued{}, fmt.Errorf("signing a code: %w", err)
	}
	return Issued{Text: text, IssuedAt: iat, ExpiresAt: iat.Add(token.Lifetime)}, nil
}

// trusted is whose orders are obeyed, by the registers as they stand now and as the audit log tells.
func (i *Issuer) trusted() (order.Trusted, error) { return i.registers.sync(i.audit, i.opts.Now()) }

// Audit returns the log of everything that was opened and destroyed.
func (i *Issuer) Audit() *auditlog.Log { return i.audit }

// makeFolders makes what a data folder consists of.
func makeFolders(dir string) error {
	for _, sub := range []string{"", "keys", "days", "audit"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			return fmt.Errorf("making the data folder: %w", err)
		}
	}
	return durable.Disk{}.SyncDir(dir)
}
