package uplink

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/kipass/kipass/protocol/wire"
)

// errDate is wrapped by errors of a server certificate that is not valid on the date the device has.
var errDate = errors.New("this device's date is wrong, or the server's certificate is not of today")

// A gate needs the time to judge the server's certificate, and the server to get the time. With an authority of its own to
// go by, and a clock that nothing confirms, it judges the certificate at a moment within the certificate's own validity,
// asks for nothing but the time, and judges once more by what it is told. The time then goes the way of every answer's
// (Options.OnServerTime), and the next connection is judged by the gate's clock like any other.

// misdated returns the server's certificate if a handshake failed because of the date, else nil.
func misdated(err error) *x509.Certificate {
	var invalid x509.CertificateInvalidError
	var refused *tls.CertificateVerificationError
	if !errors.As(err, &invalid) || invalid.Reason != x509.Expired || !errors.As(err, &refused) {
		return nil
	}
	return refused.UnverifiedCertificates[0]
}

// redate makes of an error of a connection what is to be said of it; if the date is to blame it asks for the time. The
// text stays the same for a day.
func (c *client) redate(ctx context.Context, err error) error {
	leaf := misdated(err)
	if leaf == nil {
		return err
	}
	c.onDate(true)
	now, known := c.clock()
	day := func(t time.Time) string { return t.UTC().Format(time.DateOnly) }
	err = fmt.Errorf("%w: here it is %s, the certificate is valid from %s to %s",
		errDate, day(now), day(leaf.NotBefore), day(leaf.NotAfter))
	if known || c.askTime == nil {
		return err
	}
	if e := c.askTime(ctx); e != nil {
		return fmt.Errorf("%w; asking for the time: %v", err, e) // the date is what is wrong, whatever came of asking
	}
	return err
}

// timeAsker returns what asks the server for its time and hands it to onTime.
func timeAsker(opts Options, onTime func(time.Time, time.Duration)) func(ctx context.Context) error {
	return func(ctx context.Context) error {
		var state tls.ConnectionState
		check := func(at time.Time) error {
			intermediates := x509.NewCertPool()
			for _, c := range state.PeerCertificates[1:] {
				intermediates.AddCert(c)
			}
			_, err := state.PeerCertificates[0].Verify(x509.VerifyOptions{
				Roots: opts.CA, Intermediates: intermediates, DNSName: opts.Server.Hostname(), CurrentTime: at,
			})
			return err
		}
		transport := newTransport(opts, &tls.Config{
			InsecureSkipVerify: true, // for VerifyConnection, which does all of it at another time
			VerifyConnection: func(s tls.ConnectionState) error {
				state = s
				leaf := s.PeerCertificates[0]
				return check(leaf.NotBefore.Add(leaf.NotAfter.Sub(leaf.NotBefore) / 2))
			},
		})
		transport.DisableKeepAlives = true
		asking := &client{
			base: opts.Server, timeout: opts.Timeout, clock: opts.Time, onDate: func(bool) {},
			http: &http.Client{Transport: newTwoHellos(opts.hello, transport), CheckRedirect: noRedirect},
		}
		answer, rtt, err := exchange[wire.Time](ctx, asking, wire.PathTime, "", nil, wire.TypeTime)
		if err != nil {
			return err
		}
		t := time.UnixMilli(answer.ServerTime)
		if err := check(t); err != nil {
			return fmt.Errorf("the server's certificate is not valid at the server's own time: %w", err)
		}
		onTime(t, rtt)
		return nil
	}
}
