package visitserver

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/kipass/kipass/internal/testkit"
	"github.com/kipass/kipass/protocol/day"
	"github.com/kipass/kipass/protocol/visit"
)

// childFolder names the folder that a re-executed test binary serves instead of running tests.
const (
	childFolder = "KIPASS_VISITS_TEST_FOLDER"
	childListen = "KIPASS_VISITS_TEST_LISTEN"
)

func TestMain(m *testing.M) {
	dir := os.Getenv(childFolder)
	if dir == "" {
		os.Exit(m.Run())
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	err := serve(ctx, Config{Folder: Folder{Dir: dir}}, os.Getenv(childListen), func(addr string) { fmt.Println("ready", addr) })
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// child is a server in a process of its own.
type child struct {
	cmd  *exec.Cmd
	addr string
}

func startChild(t *testing.T, dir, listen string) *child {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childFolder+"="+dir, childListen+"="+listen)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	addr, ok := strings.CutPrefix(strings.TrimSpace(line), "ready ")
	if err != nil || !ok {
		_ = cmd.Process.Kill()
		t.Fatalf("server said %q: %v", line, err)
	}
	return &child{cmd, addr}
}

func (c *child) end(t *testing.T, s syscall.Signal) {
	t.Helper()
	if err := c.cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
	err := c.cmd.Wait()
	if s == syscall.SIGTERM && err != nil {
		t.Errorf("server ended with %v", err)
	}
}

// lives counts how often the server was started.
type lives struct {
	cond *sync.Cond
	n    int
}

func newLives() *lives { return &lives{cond: sync.NewCond(&sync.Mutex{})} }

func (l *lives) now() int {
	l.cond.L.Lock()
	defer l.cond.L.Unlock()
	return l.n
}

func (l *lives) next() {
	l.cond.L.Lock()
	defer l.cond.L.Unlock()
	l.n++
	l.cond.Broadcast()
}

// after waits for a life after n.
func (l *lives) after(n int) {
	l.cond.L.Lock()
	defer l.cond.L.Unlock()
	for l.n <= n {
		l.cond.Wait()
	}
}

// TestEveryAcknowledgedBatchIsThereOnceThoughTheServerIsKilled lets gates of one facility, some showing the same codes,
// deliver while the server is killed (SIGKILL) and started again, and then looks every visit up.
func TestEveryAcknowledgedBatchIsThereOnceThoughTheServerIsKilled(t *testing.T) {
	if testing.Short() {
		t.Skip("starts the server as a process of its own, again and again")
	}
	const gates, batches, perBatch, kills = 3, 40, 25, 6
	now := time.Now()
	fx := &fixture{t: t, folder: Folder{Dir: shortDir(t)}, clock: testkit.NewClock(now)}
	if err := fx.folder.Init([]string{"localhost"}, now); err != nil {
		t.Fatal(err)
	}
	server := startChild(t, fx.folder.Dir, "127.0.0.1:0")
	fx.addr = server.addr
	fx.facility("cafe")
	var all []*gate
	for g := range gates {
		all = append(all, fx.gate("cafe", visit.Gate(fmt.Sprintf("g%d", g))))
	}
	truth := map[visit.CTI]bool{}
	for range batches * perBatch {
		v := newVisit(now)
		truth[v.CTI] = true
		for i, g := range all {
			if i == 0 || v.CTI[0]%3 == byte(i) {
				g.journalled(v)
			}
		}
	}

	life := newLives()
	var acked atomic.Int64
	progress := make(chan struct{}, 1)
	var wg sync.WaitGroup
	for _, g := range all {
		wg.Go(func() {
			for failed := 0; len(g.records) > 0; {
				was := life.now()
				n := min(perBatch, len(g.records))
				receipt, err := g.send(g.segment(n))
				if problem(err) != "" {
					t.Errorf("refused: %v", err)
					return
				}
				if err != nil {
					// Once may be the old server's connection; twice in one life is a server that is down.
					g.client.CloseIdleConnections()
					if failed++; failed > 1 {
						life.after(was)
						failed = 0
					}
					continue
				}
				failed = 0
				if len(receipt.Settled.Refused) > 0 || len(receipt.Alerts) > 0 {
					t.Errorf("receipt %+v", receipt)
					return
				}
				g.settle(receipt.Settled.Through)
				acked.Add(1)
				select {
				case progress <- struct{}{}:
				default:
				}
			}
		})
	}
	finished := make(chan struct{})
	go func() { wg.Wait(); close(finished) }()
	for k := range kills {
		target := int64(k+1) * 8
		for acked.Load() < target {
			select {
			case <-progress:
			case <-finished:
				t.Fatalf("gates finished after %d kills only", k)
			}
		}
		server.end(t, syscall.SIGKILL)
		server = startChild(t, fx.folder.Dir, fx.addr)
		life.next()
	}
	<-finished
	l := fx.ledger()
	server.end(t, syscall.SIGTERM)

	s, parts := opened(t, fx.folder, fx.clock)
	defer parts.close()
	found := map[visit.CTI]int{}
	for d := day.Of(now) - 1; d <= day.Of(now); d++ {
		key, err := s.keys.Key(d)
		if err != nil {
			continue // no visit on that day
		}
		for row, err := range s.store.Window(t.Context(), "cafe", d, d.Start(), (d + 1).Start()) {
			if err != nil {
				t.Fatal(err)
			}
			v, err := key.Open("cafe", row)
			if err != nil {
				t.Fatal(err)
			}
			found[v.CTI]++
		}
	}
	for cti := range truth {
		if found[cti] != 1 {
			t.Errorf("a visit is stored %d times", found[cti])
		}
	}
	if len(found) != len(truth) || l.Facilities[0].Stored != uint64(len(truth)) {
		t.Errorf("%d visits stored, %d counted, want %d", len(found), l.Facilities[0].Stored, len(truth))
	}
	for i, g := range l.Gates {
		j := g.Journals[0]
		if j.Last != all[i].next-1 || j.Last != j.Stored+j.Again || len(j.Alerts) > 0 {
			t.Errorf("ledger of %s: %+v, want all %d records stored or known", g.Gate, j, all[i].next-1)
		}
	}
}
