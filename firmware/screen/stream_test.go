package screen

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kipass/kipass/internal/testkit"
	"github.com/kipass/kipass/internal/testkit/memnet"
	"github.com/kipass/kipass/protocol/visit"
)

const inMemory = "127.0.0.1:8080"

// startInMemory serves a screen in the bubble of the test, and returns how to reach it and how to end it.
func startInMemory(t *testing.T) (s *Screen, network *memnet.Network, stop func() error) {
	t.Helper()
	network = memnet.New()
	log, _ := testkit.NewLogger()
	s = &Screen{
		opts:     Options{Language: "ko", Status: func() Status { return Status{InService: true} }, Now: time.Now, Logger: log},
		listener: &ownedListener{testkit.Must(network.Listen(inMemory))(t), userOf}, hub: newHub(), tally: newTally(), maxHold: maxHold,
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	return s, network, func() error { cancel(); return <-done }
}

// No time-out of the server ends the stream of a page that listens.
func TestAStreamLastsAsLongAsItsPage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, network, stop := startInMemory(t)
		transport := &http.Transport{DialContext: network.Dial}
		r := testkit.Must(http.NewRequest(http.MethodGet, "http://"+inMemory+"/events", nil))(t)
		w := testkit.Must(transport.RoundTrip(r))(t)
		lines := make(chan string)
		go func() {
			defer close(lines)
			for in := bufio.NewScanner(w.Body); in.Scan(); {
				lines <- in.Text()
			}
		}()
		began := time.Now()
		last := began
		shown := 0
		for line := range lines {
			if gap := time.Since(last); gap > beatEvery {
				t.Fatalf("nothing for %v", gap)
			}
			last = time.Now()
			if line == "event: outcome" {
				shown++
				continue
			}
			if line == "event: status" && time.Since(began) > 3*time.Minute && shown == 0 {
				s.Show(visit.Admitted, "front", time.Second, time.Time{})
			}
			if shown > 0 {
				break
			}
		}
		if shown != 1 || time.Since(began) < 3*time.Minute {
			t.Errorf("the stream ended after %v with %d outcomes", time.Since(began), shown)
		}
		go func() { // what is on its way is read, and then the end
			for range lines {
				continue
			}
		}()
		testkit.Check(t, stop())
		transport.CloseIdleConnections()
	})
}

// A page that does not read loses its place, and does not keep the gate from ending.
func TestAPageThatDoesNotReadLosesItsPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, network, stop := startInMemory(t)
		stall := func() net.Conn {
			c := testkit.Must(network.Dial(t.Context(), "tcp", inMemory))(t)
			_, err := fmt.Fprintf(c, "GET /events HTTP/1.1\r\nHost: %s\r\n\r\n", inMemory)
			testkit.Check(t, err)
			synctest.Wait()
			for range 1000 { // until nothing more fits on the way
				s.Show(visit.Admitted, strings.Repeat("lane", 10), maxHold, time.Time{})
				synctest.Wait()
			}
			return c
		}
		first := stall()
		if n := s.hub.open(); n != 1 {
			t.Fatalf("%d pages", n)
		}
		time.Sleep(writeLimit)
		synctest.Wait()
		if n := s.hub.open(); n != 0 {
			t.Errorf("%d pages after the time for a write", n)
		}
		second := stall()
		began := time.Now()
		if err := stop(); err != nil || time.Since(began) > endLimit {
			t.Errorf("ended after %v: %v", time.Since(began), err)
		}
		testkit.Check(t, first.Close())
		testkit.Check(t, second.Close())
	})
}
