// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// wires is one connection of a network, with nobody at its far end.
func wires(n *Network) (ours, theirs *conn) {
	l := n.linkLocked("a", "p")
	up, down := newPipe(l), newPipe(l)
	ours = &conn{l: l, in: down, out: up}
	theirs = &conn{l: l, in: up, out: down}
	l.conns = append(l.conns, &pair{ours, theirs})
	return ours, theirs
}

func put(t *testing.T, c *conn, s string) {
	t.Helper()
	if n, err := c.Write([]byte(s)); n != len(s) || err != nil {
		t.Fatalf("write: %d, %v", n, err)
	}
}

// rest reads what comes within a second, and how it ends.
func rest(t *testing.T, c *conn) (string, error) {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(c)
	return string(b), err
}

// What a network and its ends do with bytes: HAZARDS section 4 rule 5, first row,
// and what the fault proxy does.
func TestBytes(t *testing.T) {
	for name, tt := range map[string]struct {
		play func(t *testing.T, n *Network, ours, theirs *conn)
		want string
		err  error
	}{
		"silence":             {func(*testing.T, *Network, *conn, *conn) {}, "", os.ErrDeadlineExceeded},
		"bytes":               {func(t *testing.T, _ *Network, o, _ *conn) { put(t, o, "ab") }, "ab", os.ErrDeadlineExceeded},
		"read after our RST":  {func(t *testing.T, _ *Network, o, _ *conn) { put(t, o, "ab"); o.Close() }, "ab", syscall.ECONNRESET},
		"read after a reset":  {func(t *testing.T, n *Network, o, _ *conn) { put(t, o, "ab"); n.Reset("", "p") }, "ab", syscall.ECONNRESET},
		"read after FIN":      {func(t *testing.T, n *Network, o, _ *conn) { put(t, o, "ab"); n.HalfClose("a", "p") }, "ab", nil},
		"of another adapter":  {func(t *testing.T, n *Network, o, _ *conn) { put(t, o, "ab"); n.Reset("b", "p") }, "ab", os.ErrDeadlineExceeded},
		"unread at its close": {func(t *testing.T, _ *Network, o, th *conn) { put(t, o, "ab"); th.Close() }, "", net.ErrClosed},
		"held": {func(t *testing.T, n *Network, o, _ *conn) {
			n.Hold("", "p", true)
			put(t, o, "ab")
			o.Close()
		}, "", os.ErrDeadlineExceeded},
		"held and let go when nobody wants it": {func(t *testing.T, n *Network, o, _ *conn) {
			put(t, o, "a")
			n.Hold("", "p", true)
			put(t, o, "b")
			o.Close()
			n.Hold("", "p", false)
		}, "ab", syscall.ECONNRESET},
		"swallowed": {func(t *testing.T, n *Network, o, _ *conn) {
			n.Mute("", "p", true)
			put(t, o, "ab")
			n.Mute("", "p", false)
		}, "", syscall.ECONNRESET},
		"muted without a loss": {func(t *testing.T, n *Network, o, _ *conn) {
			n.Mute("", "p", true)
			n.Mute("", "p", false)
			put(t, o, "ab")
		}, "ab", os.ErrDeadlineExceeded},
		"closed while it was muted": {func(_ *testing.T, n *Network, o, _ *conn) {
			n.Mute("", "p", true)
			o.Close()
			n.Mute("", "p", false)
		}, "", syscall.ECONNRESET},
		"reset while it was held, and closed": {func(t *testing.T, n *Network, o, _ *conn) {
			n.Hold("", "p", true)
			put(t, o, "ab")
			n.Reset("", "p")
			o.Close()
		}, "", syscall.ECONNRESET},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := NewNetwork()
				ours, theirs := wires(n)
				tt.play(t, n, ours, theirs)
				if got, err := rest(t, theirs); got != tt.want || !errors.Is(err, tt.err) {
					t.Errorf("got %q, %v, want %q, %v", got, err, tt.want, tt.err)
				}
			})
		})
	}
}

// A stopped process reads nothing, also what came before.
func TestStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := NewNetwork()
		tg := n.Target("iqn.2026-11.test:a", Tgtd(), "p")
		ours, theirs := wires(n)
		theirs.owner = tg
		put(t, ours, "ab")
		tg.Stop()
		ours.Close()
		begin := time.Now()
		time.AfterFunc(time.Minute, tg.Cont)
		if got, err := io.ReadAll(theirs); string(got) != "ab" || !errors.Is(err, syscall.ECONNRESET) || time.Since(begin) != time.Minute {
			t.Errorf("got %q, %v after %v", got, err, time.Since(begin))
		}
	})
}

// A writer waits when the reader does not read, as on a socket.
func TestFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := NewNetwork()
		ours, theirs := wires(n)
		go func() {
			time.Sleep(time.Minute)
			_, _ = theirs.Read(make([]byte, 10)) // makes room
		}()
		begin := time.Now()
		put(t, ours, string(make([]byte, socketBuffer+10)))
		if d := time.Since(begin); d != time.Minute {
			t.Errorf("took %v", d)
		}
		if err := ours.SetWriteDeadline(time.Now().Add(time.Second)); err != nil {
			t.Fatal(err)
		}
		if _, err := ours.Write([]byte("x")); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	})
}
