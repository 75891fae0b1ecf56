package bench

import (
	"bufio"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/kipass/kipass/drivers/drivertest"
	"github.com/kipass/kipass/drivers/speaker"
	"github.com/kipass/kipass/lab/internal/metrics"
	"github.com/kipass/kipass/lab/internal/process"
)

// kiosk is a gate as it stands in a doorway: the real program, enrolled with a real server, with a reader on a pseudo
// terminal and a sound card that takes samples at real-time pace.
type kiosk struct {
	site   *site
	scheme scheme
	server *central
	line   *drivertest.Pty
	card   *drivertest.SoundCard
	screen string // URL without the last slash
	gate   *process.Process
}

const kioskConfig = `version = 1

[gate]
facility = %q
name = %q
state = %q
language = "ko"

[server]
url = %q
ca = %q
enrolment_code = %q

[trust]
root = %q

[[reader]]
name = "front"
device = %q

[screen]
listen = %q
`

const serviceWithin = 30 * time.Second

// newKiosk sets everything up and starts the gate; it returns once the gate is in service.
func newKiosk(ctx context.Context, s *site) (k *kiosk, err error) {
	k = &kiosk{site: s}
	defer func() {
		if err != nil {
			err = errors.Join(err, k.close())
		}
	}()
	if k.scheme, err = newScheme(); err != nil {
		return k, err
	}
	if k.server, err = startCentral(ctx, s, k.scheme); err != nil {
		return k, err
	}
	if k.line, err = drivertest.OpenPty(s.path("reader")); err != nil {
		return k, err
	}
	if err := os.Mkdir(s.path("sound"), 0o700); err != nil {
		return k, err
	}
	if k.card, err = drivertest.NewSoundCard(s.path("sound"), speaker.Rate); err != nil {
		return k, err
	}
	address, err := freeAddress()
	if err != nil {
		return k, err
	}
	k.screen = "http://" + address
	config := fmt.Sprintf(kioskConfig, benchFacility, benchGate, s.path("gate"), k.server.url, k.server.ca(), k.server.code,
		hex.EncodeToString(k.scheme.root), k.line.Path(), address)
	if err := os.WriteFile(s.path("gate.toml"), []byte(config), 0o600); err != nil {
		return k, err
	}
	if _, err := k.start(ctx); err != nil {
		return k, err
	}
	return k, metrics.AwaitService(ctx, k.screen, serviceWithin)
}

// freeAddress returns a loopback address nobody listens on.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// start starts the gate and returns how long it took to say that it is ready.
func (k *kiosk) start(ctx context.Context) (took time.Duration, err error) {
	began := time.Now()
	k.gate, _, err = k.site.programs.Start(ctx, "ready", k.card.Env(), "kipass-gate", "run", "--config", k.site.path("gate.toml"))
	return time.Since(began), err
}

func (k *kiosk) stop() error {
	gate := k.gate
	k.gate = nil
	if gate == nil {
		return nil
	}
	return gate.Stop()
}

func (k *kiosk) close() error {
	err := k.stop()
	if k.card != nil {
		err = errors.Join(err, k.card.Close())
	}
	if k.line != nil {
		err = errors.Join(err, k.line.Close())
	}
	if k.server != nil {
		err = errors.Join(err, k.server.close())
	}
	return err
}

// look keeps the screen open, as the kiosk's browser does, until ctx ends; it returns when the first event came.
func (k *kiosk) look(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, k.screen+"/events", nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return errors.Join(fmt.Errorf("the screen answers with %s", resp.Status), resp.Body.Close())
	}
	lines := bufio.NewScanner(resp.Body)
	if !lines.Scan() {
		return errors.Join(errors.New("the screen's events end at once"), lines.Err(), resp.Body.Close())
	}
	go func() {
		defer resp.Body.Close()
		for lines.Scan() {
		}
	}()
	return nil
}
