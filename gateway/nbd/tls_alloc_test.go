// SPDX-License-Identifier: Apache-2.0

//go:build !race

package nbd

import (
	"crypto/tls"
	"io"
	"testing"

	nc "pathgate/integration/nbdclient"
)

// With TLS nothing of ours allocates either. crypto/tls makes 32 bytes for each part of
// a record that it has to read the socket for, on both ends: not for each request.
func TestTLSAllocations(t *testing.T) {
	ca := pki(t)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		cfg := clientTLS(ca, "vm1")
		cfg.MaxVersion, cfg.DynamicRecordSizingDisabled = version, true
		b := serveTLS(t, Config{Exports: newSource().add("x", memory(t, diskSize))}, security(ca, TLSRequired))
		for _, tt := range []struct {
			name  string
			cmd   nc.Command
			n     uint32
			depth int
			most  float64 // of both ends
		}{
			{"read 4k", nc.CmdRead, 4096, 1, 5},
			{"read 4k, 32 deep", nc.CmdRead, 4096, 32, 16},
			{"write 4k", nc.CmdWrite, 4096, 1, 5},
			{"write 4k, 32 deep", nc.CmdWrite, 4096, 32, 16},
			{"read 256k", nc.CmdRead, 256 << 10, 1, 20},
			{"flush", nc.CmdFlush, 0, 1, 5},
		} {
			r := b.secure(t, cfg)
			if _, err := r.Info(nc.OptGo, "x"); err != nil {
				t.Fatal(err)
			}
			msg, reply := conversation(tt.cmd, tt.n, tt.depth)
			round := func() {
				if _, err := r.Conn.Write(msg); err != nil {
					t.Fatal(err)
				}
				if _, err := io.ReadFull(r.Conn, reply); err != nil {
					t.Fatal(err)
				}
			}
			for range 50 {
				round()
			}
			if got := testing.AllocsPerRun(400, round); got > tt.most {
				t.Errorf("%s, %s: %v allocations per round, want at most %v", tls.VersionName(version), tt.name, got, tt.most)
			}
			r.Close()
		}
	}
}

// B67: an idle connection holds no data buffer of ours with TLS either. What crypto/tls
// keeps, here of both ends, is below the 64 KiB of the smallest receive segment.
func TestB67IdleTLSConnections(t *testing.T) {
	const n = 100
	ca := pki(t)
	cfg := clientTLS(ca, "vm1")
	b := serveTLS(t, Config{Exports: newSource().add("x", memory(t, diskSize))}, security(ca, TLSRequired))
	clients := make([]*peer, n+1)
	msg, reply := ioRound()
	dial := func(i int) {
		r := b.secure(t, cfg)
		r.Conn.(*tls.Conn).NetConn().SetDeadline(noDeadline)
		if _, err := r.Info(nc.OptGo, "x"); err != nil {
			t.Fatal(err)
		}
		r.Send(msg)
		if _, err := io.ReadFull(r.Conn, reply); err != nil {
			t.Fatal(err)
		}
		clients[i] = r
	}
	dial(0)
	before := heap()
	for i := range n {
		dial(i + 1)
	}
	each := (heap() - before) / n
	t.Logf("an idle TLS connection takes %d bytes, both ends", each)
	if each > 128<<10 {
		t.Errorf("%d bytes per idle connection", each)
	}
	for _, r := range clients {
		r.Close()
	}
	eventually(t, "all gone", func() bool { return len(b.Connections()) == 0 })
}

func BenchmarkTLSRoundTrip(b *testing.B) {
	ca := pki(b)
	for _, bb := range []struct {
		name  string
		cmd   nc.Command
		n     uint32
		depth int
	}{
		{"read4k-1", nc.CmdRead, 4096, 1},
		{"read4k-32", nc.CmdRead, 4096, 32},
		{"write4k-32", nc.CmdWrite, 4096, 32},
		{"read256k-4", nc.CmdRead, 256 << 10, 4},
		{"write256k-4", nc.CmdWrite, 256 << 10, 4},
	} {
		b.Run(bb.name, func(b *testing.B) {
			cfg := clientTLS(ca, "vm1")
			cfg.DynamicRecordSizingDisabled = true
			r := serveTLS(b, Config{Exports: newSource().add("x", memory(b, diskSize))}, security(ca, TLSRequired)).secure(b, cfg)
			if _, err := r.Info(nc.OptGo, "x"); err != nil {
				b.Fatal(err)
			}
			r.Conn.(*tls.Conn).NetConn().SetDeadline(noDeadline)
			msg, reply := conversation(bb.cmd, bb.n, bb.depth)
			b.ReportAllocs()
			b.SetBytes(int64(bb.n) * int64(bb.depth))
			for b.Loop() {
				if _, err := r.Conn.Write(msg); err != nil {
					b.Fatal(err)
				}
				if _, err := io.ReadFull(r.Conn, reply); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
