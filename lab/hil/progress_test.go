package hil

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kipass/kipass/internal/testkit"
)

func TestProgressIsToldEveryTenSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &testkit.Buffer{}
		p := newProgress(out)
		ctx, stop := context.WithCancel(t.Context())
		go p.run(ctx)
		serial, cuts := p.begin("serial"), p.begin("journal")
		serial.at(1, 2, "TestSerial")
		time.Sleep(9 * time.Second)
		if out.String() != "" {
			t.Errorf("told before its time: %q", out.String())
		}
		cuts.at(57, 201, "")
		time.Sleep(2 * time.Second)
		for _, want := range []string{"serial", " 1/2 10s TestSerial\n", "journal", " 57/201 10s\n"} {
			if out.Count(want) != 1 {
				t.Errorf("%q is not in %q", want, out.String())
			}
		}
		serial.end(Result{Name: "serial", OK: true, Passed: 7})
		if out.Count("  7 checks") != 1 {
			t.Errorf("the end is not in %q", out.String())
		}
		time.Sleep(10 * time.Second)
		if out.Count("TestSerial") != 1 || out.Count(" 57/201 20s\n") != 1 {
			t.Errorf("a scenario that has ended is told of, or one that has not is not: %q", out.String())
		}
		stop()
		synctest.Wait()
	})
}

func TestProgressStaysOnTheTerminalsBottomLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &testkit.Buffer{}
		p := &progress{out: out, terminal: true}
		serial := p.begin("serial")
		p.begin("journal").at(3, 201, strings.Repeat("x", 200))
		p.tell()
		serial.end(Result{Name: "serial", Failure: errors.New("oh").Error()})
		text := out.String()
		if strings.Count(text, "\r\x1b[K") != 2 || strings.Count(text, "\n") != 2 || !strings.Contains(text, "\x1b[Kserial  ") {
			t.Errorf("the line is not written over: %q", text)
		}
		if line := strings.Split(text, "\r\x1b[K")[1]; len(line) != 79 || !strings.HasPrefix(line, "serial 0s | journal 3/201 0s xx") {
			t.Errorf("the line is %q", line)
		}
	})
}
