package issuer

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/kipass/kipass/internal/diskspace"
	"github.com/kipass/kipass/internal/httpserver"
	"github.com/kipass/kipass/internal/secretdir"
	"github.com/kipass/kipass/internal/startup"
)

// Ways of registering, the values of Config.Registration.
const (
	RegisterByToken = "token"
	RegisterOpen    = "open"
)

// Config is what a running issuer is told.
type Config struct {
	Dir            string       // data folder
	SecretDir      string       // folder of the secrets; "" stands for as of SecretDir
	Listener       net.Listener // where requests come in, without TLS; Run closes it
	Registration   string       // RegisterByToken or RegisterOpen
	CodesPerMinute int
	ConfirmClock   bool             // the clock is right: destroy what was held back, see guard.Clock
	Ready          func(url string) // called once, when requests are taken; may be nil
	Now            func() time.Time // time.Now if nil
	Logger         *slog.Logger
}

// answerTimeout is how long an answer may take: to open the codes of a full question and send who held them.
const answerTimeout = 2 * time.Minute

// Run serves until ctx ends, then lets the requests in progress end, see [httpserver.Run].
func Run(ctx context.Context, c Config) error {
	defer c.Listener.Close() // closed already, except where the issuer could not be opened
	given := c.Now           // nil stands for the system's clocks
	if c.Now == nil {
		c.Now = time.Now
	}
	registrar, err := registrarOf(c)
	if err != nil {
		return err
	}
	if err := secretdir.Warn(c.Logger, c.Dir, SecretDir(c.Dir, c.SecretDir)); err != nil {
		return err
	}
	space, err := diskspace.Open(diskspace.Options{Dir: c.Dir, Logger: c.Logger})
	if err != nil {
		return err
	}
	open := func() (*Issuer, error) {
		return Open(c.Dir, c.SecretDir, Options{
			Registrar: registrar, CodesPerMinute: c.CodesPerMinute, Now: given, Logger: c.Logger, Space: space,
		})
	}
	i, err := startup.Within(ctx, startup.Limit, "the issuer", open, (*Issuer).Close)
	if ctx.Err() != nil { // asked to end before it was there
		return nil
	}
	if err != nil {
		return err
	}
	if c.ConfirmClock {
		if err := i.ConfirmClock(); err != nil {
			return errors.Join(err, i.Close())
		}
	}
	return errors.Join(i.serve(ctx, c), startup.Close("the issuer", i.Close))
}

func registrarOf(c Config) (Registrar, error) {
	switch c.Registration {
	case RegisterOpen:
		c.Logger.Warn("registration is open: phone numbers are not checked; not for real visitors")
		return OpenRegistration{}, nil
	case RegisterByToken:
		all, err := readTokens(registers{c.Dir}.tokensPath())
		if err != nil {
			return nil, err
		}
		if len(all) == 0 {
			c.Logger.Warn("nobody can be registered: there is no token, see kipass-issuer token add")
		}
		return tokenRegistrar{registers{c.Dir}}, nil
	default:
		return nil, fmt.Errorf("registration %q: must be %q or %q", c.Registration, RegisterByToken, RegisterOpen)
	}
}

func (i *Issuer) serve(ctx context.Context, c Config) error {
	trusted, err := i.trusted()
	if err != nil {
		return err
	}
	if n := trusted.Officers.Len(); n < 2 {
		c.Logger.Warn("no order can be obeyed: the register needs two officers", "officers", n)
	}
	if trusted.Root == nil {
		c.Logger.Warn("no order can be obeyed: the health authority's root key is not set, see kipass-issuer authority-root")
	}
	ca, err := readAuthority(filepath.Join(c.Dir, CAFile), i.secrets.caKey)
	if err != nil {
		return err
	}
	cert, err := ca.ServerCertificate(i.about.Hosts, i.guard.Times)
	if err != nil {
		return err
	}
	conf := &tls.Config{
		MinVersion: tls.VersionTLS13, NextProtos: []string{"h2", "http/1.1"}, GetCertificate: cert.Get,
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { i.DestroyLoop(ctx); return nil })
	group.Go(func() error { i.checkLoop(ctx); return nil })
	group.Go(func() error { i.opts.Space.Run(ctx); return nil })
	group.Go(func() error { i.keyLoop(ctx); return nil })
	group.Go(func() error {
		return httpserver.Run(ctx, tls.NewListener(c.Listener, conf),
			httpserver.Options{Handler: i.Handler(), Logger: c.Logger, WriteTimeout: answerTimeout})
	})
	if c.Ready != nil {
		c.Ready(i.url(c.Listener.Addr()))
	}
	return group.Wait()
}

// keyPause is how long a signing key that was put to use by a command waits for a running issuer.
const keyPause = time.Minute

// keyLoop looks after the signing keys until ctx ends.
func (i *Issuer) keyLoop(ctx context.Context) {
	for {
		i.signer.watch(i.opts.Now())
		select {
		case <-ctx.Done():
			return
		case <-time.After(keyPause):
		}
	}
}

// url names the listening port under the first host of the certificate.
func (i *Issuer) url(a net.Addr) string {
	_, port, err := net.SplitHostPort(a.String())
	if err != nil {
		return a.String()
	}
	return "https://" + net.JoinHostPort(i.about.Hosts[0], port)
}
