// SPDX-License-Identifier: Apache-2.0

//go:build !race

package nbd

import (
	"bytes"
	"io"
	"testing"

	nc "pathgate/integration/nbdclient"
)

// Nothing between the socket and the device allocates for a READ in chunks either.
func TestAllocationsOfChunks(t *testing.T) {
	b := offer(t, memory(t, diskSize))
	w := b.client(t)
	for off := int64(0); off < 1<<20; off += 64 << 10 { // data and holes in turn
		if _, err := w.WriteAt(bytes.Repeat([]byte{1}, 4096), off); err != nil {
			t.Fatal(err)
		}
	}
	for _, d := range []nc.Dialect{nc.Structured, nc.Extended} {
		for _, n := range []uint64{4096, 32 << 10, 1 << 20} {
			for _, off := range []uint64{0, 32 << 20} {
				r := b.speaking(t, d)
				msg := d.Append(nil, &nc.Asked{Cmd: nc.CmdRead, Offset: off, Length: n})
				reply := make([]byte, chunkedLen(t, r, d, off, n))
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
				if got := testing.AllocsPerRun(200, round); got >= 1 {
					t.Errorf("dialect %d: read of %d at %d: %v allocations, want 0", d, n, off, got)
				}
				r.Close()
			}
		}
	}
}

// chunkedLen gives the length of the reply to a READ.
func chunkedLen(t testing.TB, r *peer, d nc.Dialect, off, n uint64) int {
	a := r.do(t, d, nc.Asked{Cmd: nc.CmdRead, Offset: off, Length: n})
	header := map[nc.Dialect]int{nc.Structured: chunkLen, nc.Extended: extendedChunkLen}[d]
	size := len(a.Content)*(header+8) + int(n)
	for _, h := range a.Holes {
		size += 4 - int(h.Length)
	}
	return size
}

// BenchmarkChunks is a READ in chunks, of data and of zeros.
func BenchmarkChunks(b *testing.B) {
	disk := offer(b, memory(b, diskSize))
	w := disk.client(b)
	if _, err := w.WriteAt(bytes.Repeat([]byte{1}, 16<<20), 0); err != nil {
		b.Fatal(err)
	}
	for _, bb := range []struct {
		name   string
		d      nc.Dialect
		off, n uint64
		depth  int
	}{
		{"simple-4k-32", nc.Simple, 0, 4096, 32},
		{"structured-4k-32", nc.Structured, 0, 4096, 32},
		{"extended-4k-32", nc.Extended, 0, 4096, 32},
		{"zeros-4k-32", nc.Structured, 32 << 20, 4096, 32},
		{"simple-256k-4", nc.Simple, 0, 256 << 10, 4},
		{"structured-256k-4", nc.Structured, 0, 256 << 10, 4},
		{"zeros-256k-4", nc.Structured, 32 << 20, 256 << 10, 4},
	} {
		b.Run(bb.name, func(b *testing.B) {
			r := disk.speaking(b, bb.d)
			_ = r.Conn.SetDeadline(noDeadline)
			size := 16 + int(bb.n)
			if bb.d != nc.Simple {
				size = chunkedLen(b, r, bb.d, bb.off, bb.n)
			}
			var msg []byte
			for i := range bb.depth {
				msg = bb.d.Append(msg, &nc.Asked{Cmd: nc.CmdRead, Cookie: uint64(i), Offset: bb.off + uint64(i)*bb.n, Length: bb.n})
			}
			reply := make([]byte, size*bb.depth)
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
