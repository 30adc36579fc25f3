// SPDX-License-Identifier: Apache-2.0

package iscsi

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pathgate/backends"
	wire "pathgate/internal/iscsi"
)

// TestSentIsTrue: what the target has not seen is SentNone, what it may have seen
// is SentSome, and DataOwed tells of writes whose data it still waited for.
func TestSentIsTrue(t *testing.T) {
	got := make(chan struct{})
	r := newRig(t, func(f *fake) {
		for range 3 {
			f.recv()
		}
		close(got)
		f.recv()
	}, withWindow(3), func(_ *Config, s *wire.Settings, _ *rigOptions) { s.InitialR2T = true })
	r.waitUp()
	big := writeReq(0, pattern(65536, 1))
	reqs := []*backends.Request{readReq(0, 512), writeReq(0, pattern(512, 1)), big, readReq(0, 512)}
	var order []string
	r.n.(*nexus).handler = &orderHandler{r, &order}
	ch := r.submit(reqs...)
	<-got
	r.n.Relogin(backends.Route{})
	want := []struct {
		sent backends.Sent
		owed bool
	}{{backends.SentSome, false}, {backends.SentSome, false}, {backends.SentSome, true}, {backends.SentNone, false}}
	for range reqs {
		o := wait1(t, ch, "completion")
		for i, q := range reqs {
			if q != o.r {
				continue
			}
			if o.res.Class != backends.Transport || o.res.Sent != want[i].sent || q.Attempt.DataOwed != want[i].owed {
				t.Errorf("request %d: %+v, owed %v; want %+v", i, o.res, q.Attempt.DataOwed, want[i])
			}
			if (q.Attempt.Generation == 1) != (want[i].sent == backends.SentSome) {
				t.Errorf("request %d: attempt %+v", i, q.Attempt)
			}
		}
	}
	if l := wait1(t, r.down, "loss"); l.Class != backends.LossRelogin || l.Generation != 1 {
		t.Errorf("got loss %+v", l)
	}
}

// orderHandler passes on; it exists to be swapped in under a running nexus.
type orderHandler struct {
	*rig
	order *[]string
}

// TestDownComesFirst: the handler knows of a loss before its requests end.
func TestDownComesFirst(t *testing.T) {
	r := newRig(t, func(f *fake) { f.recv() })
	r.waitUp()
	ends := make(chan bool, 1)
	q := read4k()
	q.Completer = backends.CompleterFunc(func(*backends.Batch, *backends.Request, backends.Result) {
		ends <- len(r.down) == 1
	})
	var b backends.Batch
	r.s.Submit(&b, []*backends.Request{q})
	b.Run()
	if !wait1(t, ends, "completion") {
		t.Error("a request ended before Down was told")
	}
	// Down is over: nothing is taken any more.
	if res := r.do(read4k()); res.Class != backends.Transport || res.Sent != backends.SentNone {
		t.Errorf("got %+v", res)
	}
}

// TestCutsCompleteOnce cuts connections at random bytes under load: every request
// ends exactly once, and success means that the data is right.
func TestCutsCompleteOnce(t *testing.T) {
	disk := make([]byte, 60*8192) // each connection has its own, as if all were alive
	for i := range 60 {
		copy(disk[i*8192:], pattern(8192, byte(i)))
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	var mu sync.Mutex
	r := newRig(t, func(f *fake) {
		mu.Lock()
		left := 100 + rng.IntN(200000)
		mu.Unlock()
		f.sock = &cutConn{Conn: f.sock, left: left}
		f.disk(bytes.Clone(disk))
	}, again, overTCP, withWindow(16))
	var ended, succeeded atomic.Int64
	var wg sync.WaitGroup
	total := 0
	losses := 0
	for losses < 25 {
		select {
		case <-r.up:
		case <-r.down:
			losses++
			r.n.Relogin(backends.Route{}) // does not wait for the back-off
			continue
		case <-time.After(20 * time.Second):
			t.Fatal("no login")
		}
		var reqs []*backends.Request
		for i := range 60 {
			off := uint64(i) * 8192
			q := readReq(off, 8192)
			if i%2 == 1 {
				q = writeReq(off, pattern(8192, byte(i)))
			}
			var once atomic.Int32
			wg.Add(1)
			q.Completer = backends.CompleterFunc(func(_ *backends.Batch, q *backends.Request, res backends.Result) {
				if once.Add(1) != 1 {
					t.Error("completed twice")
					return
				}
				if res.OK() {
					succeeded.Add(1)
				}
				if res.OK() && q.Op == backends.Read && !bytes.Equal(q.Data.Bytes(), disk[off:off+8192]) {
					t.Errorf("success with wrong data, %d bytes", q.Data.Len())
				}
				q.Data.Release()
				ended.Add(1)
				wg.Done()
			})
			reqs = append(reqs, q)
		}
		total += len(reqs)
		var b backends.Batch
		r.s.Submit(&b, reqs)
		b.Run()
		if c := r.n.(*nexus).conn.Load(); c != nil && losses%3 == 0 {
			c.fail(errors.New("cut by the test"))
		}
	}
	r.close()
	wg.Wait()
	if int(ended.Load()) != total || succeeded.Load() == 0 {
		t.Errorf("%d of %d ended, %d well", ended.Load(), total, succeeded.Load())
	}
	if n, _ := r.s.Load(); n != 0 {
		t.Errorf("%d requests still counted", n)
	}
}

// cutConn ends after so many bytes, either way.
type cutConn struct {
	net.Conn
	left int
}

func (c *cutConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.left -= n
	if c.left <= 0 {
		_ = c.Close()
	}
	return n, err
}

func (c *cutConn) Write(p []byte) (int, error) {
	if len(p) > c.left {
		n, _ := c.Conn.Write(p[:max(c.left, 0)])
		_ = c.Close()
		return n, net.ErrClosed
	}
	c.left -= len(p)
	return c.Conn.Write(p)
}

// TestSilence: a target that says nothing is found out after NOP interval and
// timeout, and one that answers is not.
func TestSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stopped := make(chan struct{})
		r := newRig(t, func(f *fake) {
			// Ten seconds of answered NOPs, and then nothing more.
			timer := time.AfterFunc(10*time.Second, func() { _ = f.sock.SetReadDeadline(time.Unix(1, 0)) })
			defer timer.Stop()
			func() {
				defer func() { _ = recover() }()
				f.recv()
			}()
			_ = f.sock.SetReadDeadline(time.Time{})
			buf := make([]byte, 4096)
			for {
				if _, err := f.sock.Read(buf); err != nil {
					close(stopped)
					return
				}
			}
		})
		r.waitUp()
		start := time.Now()
		ch := r.submit() // nothing outstanding
		_ = ch
		l := <-r.down
		lasted := time.Since(start)
		if l.Class != backends.LossSilent || lasted < 10*time.Second || lasted > 12100*time.Millisecond {
			t.Errorf("got %v (%v) after %v", l.Class, l.Err, lasted)
		}
		<-stopped
		r.close()
	})
}

// TestSilenceUnderLoad: with a command in flight a black hole is known two seconds
// after the last byte.
func TestSilenceUnderLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(f *fake) {
			f.command()
			buf := make([]byte, 4096)
			for {
				if _, err := f.sock.Read(buf); err != nil {
					return
				}
			}
		})
		r.waitUp()
		start := time.Now()
		o := <-r.submit(read4k())
		if d := time.Since(start); o.res.Class != backends.Transport || o.res.Sent != backends.SentSome || d < 2*time.Second || d > 2100*time.Millisecond {
			t.Errorf("got %+v after %v", o.res, d)
		}
		r.close()
	})
}

// TestReconnect: back-off grows to its bound, and Close ends it.
func TestReconnect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil, func(c *Config, _ *wire.Settings, _ *rigOptions) {
			c.Dial = func(context.Context, string) (net.Conn, error) { return nil, errors.New("nobody there") }
		})
		nominal := firstPause
		last := time.Now()
		for i := range 12 {
			l := <-r.down
			if l.Class != backends.LossConnect || l.Retry < nominal*3/4 || l.Retry > nominal*5/4 || l.Generation != 0 {
				t.Errorf("attempt %d: %+v, want a retry in about %v", i, l, nominal)
			}
			if i > 0 && time.Since(last) == 0 {
				t.Error("no pause")
			}
			last = time.Now()
			nominal = min(2*nominal, maxPause)
		}
		r.close()
	})
}

// TestReloginRoute: on a foreign route there is one attempt, with the shorter
// timer, the same ISID, and then quiet until the next Relogin.
func TestReloginRoute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		isids := make(chan wire.ISID, 10)
		portals := make(chan string, 10)
		var hang atomic.Bool
		script := func(f *fake) {
			isids <- f.login.ISID
			f.recv()
		}
		set := wire.DefaultSettings()
		set.TargetPortalGroupTag = 1
		var wg sync.WaitGroup
		dial := func(name string) func(context.Context, string) (net.Conn, error) {
			return func(ctx context.Context, portal string) (net.Conn, error) {
				portals <- name + " " + portal
				if hang.Load() {
					<-ctx.Done()
					return nil, ctx.Err()
				}
				client, server := net.Pipe()
				f := &fake{t: t, sock: server, set: set, window: 8}
				wg.Go(func() { f.play((*fake).loginPhase, script) })
				return client, nil
			}
		}
		r := newRig(t, nil, func(c *Config, _ *wire.Settings, _ *rigOptions) { c.Dial = dial("home") })
		r.waitUp()
		cfg := testConfig()
		cfg.Dial = dial("away")
		away, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		first := <-isids
		if got := <-portals; got != "home "+testPortal {
			t.Errorf("dialled %s", got)
		}
		route := backends.Route{Connector: away, Portal: "192.0.2.2:3260"}
		r.n.Relogin(route)
		if l := <-r.down; l.Class != backends.LossRelogin || l.Retry != 0 {
			t.Errorf("got %+v", l)
		}
		if l := <-r.up; l.Route != route || l.Generation != 2 {
			t.Errorf("got %+v", l)
		}
		if got := <-portals; got != "away 192.0.2.2:3260" {
			t.Errorf("dialled %s", got)
		}
		if again := <-isids; again != first {
			t.Errorf("ISID %v, want %v", again, first)
		}
		hang.Store(true)
		r.n.Relogin(route)
		<-r.down
		start := time.Now()
		if l := <-r.down; l.Class != backends.LossConnect || l.Retry != 0 || time.Since(start) != 5*time.Second {
			t.Errorf("got %+v after %v", l, time.Since(start))
		}
		time.Sleep(time.Hour)
		if len(r.down) != 0 || len(portals) != 2-1 {
			t.Errorf("%d losses, %d attempts meanwhile", len(r.down), len(portals))
		}
		hang.Store(false)
		r.n.Relogin(backends.Route{})
		if l := <-r.up; !l.Route.Own() || l.Generation != 3 {
			t.Errorf("got %+v", l)
		}
		r.close()
		wg.Wait()
	})
}

// TestExecDeadline: a command that is not answered ends with its deadline; its
// late answer is swallowed.
func TestExecDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(f *fake) {
			c, _ := f.command()
			second, _ := f.command()
			f.sendData(c, make([]byte, 36))
			f.sendData(second, make([]byte, 4096))
			f.disk(nil)
		})
		r.waitUp()
		start := time.Now()
		x := r.exec(&backends.Command{CDB: [16]byte{0x12, 4: 36}, MaxIn: 36, Timeout: 2 * time.Second})
		if x.Result.Class != backends.Transport || x.Result.Sent != backends.SentSome || time.Since(start) != 2*time.Second || len(x.In) != 0 {
			t.Errorf("got %+v after %v", x.Result, time.Since(start))
		}
		if res := r.do(read4k()); !res.OK() {
			t.Errorf("with the late answer: %+v", res)
		}
		r.close()
	})
}
