// SPDX-License-Identifier: Apache-2.0

//go:build integration

package e2e

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"pathgate/integration/gate"
	"pathgate/integration/nbdclient"
	"pathgate/integration/proxy"
	"pathgate/integration/tgtd"
)

// mapOf gives the map of a context as nbdinfo has it: "offset+length:flags", in
// units of 1 MiB.
func (b *bed) mapOf(t testing.TB, context string) string { return b.mapIn(t, context, mib) }

// mapIn is mapOf in other units.
func (b *bed) mapIn(t testing.TB, context string, unit int64) string {
	t.Helper()
	var list []struct{ Offset, Length, Type int64 }
	if err := json.Unmarshal([]byte(tool(t, "nbdinfo", "--json", "--map="+context, b.g.URI("vm1/root"))), &list); err != nil {
		t.Fatal(err)
	}
	var s []string
	for _, e := range list {
		s = append(s, fmt.Sprintf("%d+%d:%d", e.Offset/unit, e.Length/unit, e.Type))
	}
	return strings.Join(s, " ")
}

// TestMapOfAThinLUN: what a thin LUN tells by GET LBA STATUS is what NBD clients are
// told, over all paths, and what they read.
func TestMapOfAThinLUN(t *testing.T) {
	b := newBed(t, bedOptions{tgtd: func(o *tgtd.Options) { o.Targets[0].LUNs[0].Thin = true }})
	tool(t, "qemu-io", "-f", "raw", "-c", "write -P 7 8M 4M", "-c", "write -P 9 20M 1M", "-c", "flush", b.g.URI("vm1/root"))
	const want = "0+8:3 8+4:0 12+8:3 20+1:0 21+43:3"
	if got := b.mapOf(t, "base:allocation"); got != want {
		t.Errorf("map: got %s, want %s", got, want)
	}
	for _, d := range []nbdclient.Dialect{nbdclient.Structured, nbdclient.Extended} {
		r := b.speaking(t, d)
		for _, at := range []struct {
			off  uint64 // MiB
			zero bool
		}{{4, true}, {5, true}, {8, false}, {10, false}, {12, true}, {13, true}, {20, false}, {21, true}} {
			a, err := r.Do(d, &nbdclient.Asked{Cmd: nbdclient.CmdRead, Cookie: at.off, Offset: at.off * mib, Length: mib})
			if err != nil || a.Errno != 0 {
				t.Fatalf("read at %d MiB: %v, %v", at.off, a.Errno, err)
			}
			if hole := len(a.Holes) == 1 && a.Holes[0].Length == mib; hole != at.zero || !at.zero && a.Data[mib-1] == 0 {
				t.Errorf("read at %d MiB: holes %v", at.off, a.Holes)
			}
		}
	}
}

// speaking is a connection to vm1/root in d.
func (b *bed) speaking(t testing.TB, d nbdclient.Dialect) *nbdclient.Raw {
	t.Helper()
	r, err := nbdclient.DialRaw(t.Context(), b.g.NBD())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	_ = r.Conn.SetDeadline(time.Now().Add(time.Minute))
	if _, err := r.Greet(); err != nil {
		t.Fatal(err)
	}
	if err := r.Speak(d); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Info(nbdclient.OptGo, "vm1/root"); err != nil {
		t.Fatal(err)
	}
	return r
}

// TestMapOfThePaths: NBD clients see that paths are missing, that none is left, and
// that all are back.
func TestMapOfThePaths(t *testing.T) {
	b := newBed(t, bedOptions{})
	shows := func(want string) {
		t.Helper()
		got := ""
		if !gate.Poll(30*time.Second, func() bool {
			got = b.mapOf(t, "pathgate:paths")
			return got == want
		}) {
			t.Errorf("paths: got %s, want %s", got, want)
		}
	}
	shows("0+64:0")
	for i, want := range []string{"0+64:1", "0+64:3"} {
		b.proxies[i].MustSet(proxy.Fault{Kind: proxy.Refuse})
		b.proxies[i].ResetConns()
		shows(want)
	}
	b.restoreAll()
	shows("0+64:0")
}

// TestMapOfAGhost: a write that the network may still have shows as held, and nothing
// beside it, until it is fenced.
func TestMapOfAGhost(t *testing.T) {
	b := newBed(t, bedOptions{})
	c := b.connect(t, 1)[0]
	const unit, at = 4096, 8 * mib
	shows := func(want string) {
		t.Helper()
		got := ""
		if !gate.Poll(time.Minute, func() bool {
			got = b.mapIn(t, "pathgate:paths", unit)
			return got == want
		}) {
			t.Errorf("paths: got %s, want %s", got, want)
		}
	}
	shows("0+16384:0")
	for _, p := range b.proxies {
		p.MustSet(proxy.Fault{Kind: proxy.Hold, Dir: proxy.ToTarget, At: &proxy.Trigger{When: writesTo(at), HalfData: true}})
	}
	w := writeLater(c, '1', at)
	if !gate.Poll(time.Minute, func() bool {
		return b.proxies[0].Counters().Fault(proxy.Hold).Times+b.proxies[1].Counters().Fault(proxy.Hold).Times > 0
	}) {
		t.Fatal("no proxy has seen the write")
	}
	for _, p := range b.proxies {
		p.MustSet(proxy.Fault{Kind: proxy.Refuse})
		p.ResetConns()
	}
	shows("0+2048:3 2048+1:7 2049+14335:3")
	b.restoreAll()
	await(t, "the write", w, time.Minute)
	shows("0+16384:0")
	b.shows(t, c, '1', at, "at the end")
}
