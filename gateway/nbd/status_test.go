// SPDX-License-Identifier: Apache-2.0

package nbd

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"

	"pathgate/backends"
	nc "pathgate/integration/nbdclient"
)

const (
	allocationID = uint32(metaAllocation)
	pathsID      = uint32(metaPaths)
)

// statusDevice answers BlockStatus with extents of its own.
type statusDevice struct {
	*testDevice
	extents []backends.Extent // nil: the memory disk's
	class   backends.Class
}

func (d *statusDevice) Submit(b *backends.Batch, reqs []*backends.Request) {
	for _, r := range reqs {
		if r.Op != backends.BlockStatus {
			d.testDevice.Submit(b, []*backends.Request{r})
			continue
		}
		r.Extents = append(r.Extents, d.extents...)
		b.Complete(r, backends.Result{Class: d.class})
	}
}

func TestBlockStatus(t *testing.T) {
	const k = 1024
	tests := []struct {
		name    string
		extents []backends.Extent
		class   backends.Class
		caps    backends.Caps // taken away
		one     bool
		length  uint64
		want    []nc.Extent
	}{
		{
			name: "data and holes", length: 12 * k,
			extents: []backends.Extent{{Length: 4 * k}, {Length: 4 * k, Hole: true, Zero: true}, {Length: 4 * k, Zero: true}},
			want:    []nc.Extent{{Length: 4 * k, Flags: 0}, {Length: 4 * k, Flags: 3}, {Length: 4 * k, Flags: 2}},
		},
		{
			name: "a hole of a device whose holes are zeros", length: 4 * k,
			extents: []backends.Extent{{Length: 4 * k, Hole: true}},
			want:    []nc.Extent{{Length: 4 * k, Flags: 3}},
		},
		{
			name: "a hole of one where they are not", length: 4 * k, caps: backends.UnmapZeroes,
			extents: []backends.Extent{{Length: 4 * k, Hole: true}},
			want:    []nc.Extent{{Length: 4 * k, Flags: 1}},
		},
		{
			name: "neighbours of a kind are one", length: 12 * k,
			extents: []backends.Extent{{Length: 4 * k}, {Length: 4 * k}, {Length: 4 * k, Zero: true}},
			want:    []nc.Extent{{Length: 8 * k, Flags: 0}, {Length: 4 * k, Flags: 2}},
		},
		{
			name: "less than was asked", length: 12 * k,
			extents: []backends.Extent{{Length: 4 * k, Zero: true}},
			want:    []nc.Extent{{Length: 4 * k, Flags: 2}},
		},
		{
			name: "more than was asked", length: 4 * k,
			extents: []backends.Extent{{Length: 2 * k}, {Length: 40 * k, Zero: true}, {Length: 4 * k}},
			want:    []nc.Extent{{Length: 2 * k, Flags: 0}, {Length: 2 * k, Flags: 2}},
		},
		{
			name: "REQ_ONE", length: 12 * k, one: true,
			extents: []backends.Extent{{Length: 2 * k}, {Length: 2 * k}, {Length: 4 * k, Hole: true, Zero: true}},
			want:    []nc.Extent{{Length: 4 * k, Flags: 0}},
		},
		{
			name: "REQ_ONE is not longer than asked", length: 4 * k, one: true,
			extents: []backends.Extent{{Length: 64 * k, Zero: true}},
			want:    []nc.Extent{{Length: 4 * k, Flags: 2}},
		},
		{name: "nothing told", length: 4 * k, want: []nc.Extent{{Length: 4 * k, Flags: 0}}},
		{name: "empty extents", length: 4 * k, extents: []backends.Extent{{Zero: true}}, want: []nc.Extent{{Length: 4 * k, Flags: 0}}},
		{name: "refused by the LUN", length: 4 * k, class: backends.Unsupported, want: []nc.Extent{{Length: 4 * k, Flags: 0}}},
		{
			name: "a device that cannot tell", length: 4 * k, caps: backends.CanBlockStatus,
			extents: []backends.Extent{{Length: 4 * k, Zero: true}}, want: []nc.Extent{{Length: 4 * k, Flags: 0}},
		},
	}
	for _, d := range []nc.Dialect{nc.Structured, nc.Extended} {
		for _, tt := range tests {
			dev := &statusDevice{testDevice: newTestDevice(t, diskSize), extents: tt.extents, class: tt.class}
			dev.info.Caps &^= tt.caps
			if dev.class == 0 {
				dev.class = backends.OK
			}
			r := offer(t, dev).speaking(t, d, "base:allocation")
			a := nc.Asked{Cmd: nc.CmdBlockStatus, Offset: 8192, Length: tt.length}
			if tt.one {
				a.Flags = nc.FlagReqOne | nc.FlagFUA
			}
			got := r.do(t, d, a, allocationID)
			if got.Errno != 0 || !slices.Equal(got.Status[allocationID], tt.want) {
				t.Errorf("dialect %d: %s: got %v %v, want %v", d, tt.name, got.Errno, got.Status, tt.want)
			}
			r.Close()
		}
	}
}

// A fragmented disk is told in parts, and every part is right.
func TestBlockStatusIsBounded(t *testing.T) {
	dev := &statusDevice{testDevice: newTestDevice(t, diskSize), class: backends.OK}
	for i := range uint64(3 * maxExtents) {
		dev.extents = append(dev.extents, backends.Extent{Length: 512, Zero: i%2 == 1})
	}
	for _, d := range []nc.Dialect{nc.Structured, nc.Extended} {
		r := offer(t, dev).speaking(t, d, "base:allocation", "pathgate:paths")
		for range 3 { // the task is used again
			got := r.do(t, d, nc.Asked{Cmd: nc.CmdBlockStatus, Length: 3 * maxExtents * 512}, allocationID, pathsID)
			list := got.Status[allocationID]
			if len(list) != maxExtents || len(got.Status[pathsID]) != 1 {
				t.Fatalf("%d and %d extents, want %d and 1", len(list), len(got.Status[pathsID]), maxExtents)
			}
			for i, e := range list {
				if e != (nc.Extent{Length: 512, Flags: uint64(i%2) * stateZero}) {
					t.Fatalf("extent %d: %v", i, e)
				}
			}
		}
	}
}

func TestPathsContext(t *testing.T) {
	const m = 1 << 20
	dev := newTestDevice(t, 8*m)
	b := offer(t, dev)
	for _, d := range []nc.Dialect{nc.Structured, nc.Extended} {
		r := b.speaking(t, d, "pathgate:paths")
		check := func(name string, offset, length uint64, want ...nc.Extent) {
			t.Helper()
			before := dev.count()
			got := r.do(t, d, nc.Asked{Cmd: nc.CmdBlockStatus, Offset: offset, Length: length}, pathsID)
			if !slices.Equal(got.Status[pathsID], want) {
				t.Errorf("%s: got %v, want %v", name, got.Status[pathsID], want)
			}
			if dev.count() != before {
				t.Errorf("%s: the device was asked", name)
			}
		}
		become := func(available bool, list ...backends.Range) {
			dev.become(backends.DegradedChanged, func(i *backends.Info) { i.Degraded, i.Available = list, available })
		}
		become(true)
		check("sound", 0, 8*m, nc.Extent{Length: 8 * m})
		become(true, backends.Range{Length: 8 * m})
		check("degraded", m, 7*m, nc.Extent{Length: 7 * m, Flags: PathsDegraded})
		become(true, backends.Range{Offset: m, Length: m}, backends.Range{Offset: 2 * m, Length: m}, backends.Range{Offset: 6 * m, Length: m})
		check("in parts", 0, 8*m, nc.Extent{Length: m}, nc.Extent{Length: 2 * m, Flags: PathsDegraded},
			nc.Extent{Length: 3 * m}, nc.Extent{Length: m, Flags: PathsDegraded}, nc.Extent{Length: m})
		check("within", 2*m+512, m, nc.Extent{Length: m - 512, Flags: PathsDegraded}, nc.Extent{Length: 512})
		check("behind", 7*m, m, nc.Extent{Length: m})
		dev.become(backends.DegradedChanged, func(i *backends.Info) {
			i.Degraded = []backends.Range{{Offset: m, Length: 4 * m}}
			i.Cut = []backends.Range{{Offset: 6 * m, Length: m}, {Offset: 2 * m, Length: m}}
		})
		check("cut", 0, 8*m, nc.Extent{Length: m}, nc.Extent{Length: m, Flags: PathsDegraded},
			nc.Extent{Length: m, Flags: PathsDegraded | PathsNone}, nc.Extent{Length: 2 * m, Flags: PathsDegraded},
			nc.Extent{Length: m}, nc.Extent{Length: m, Flags: PathsNone}, nc.Extent{Length: m})
		dev.become(backends.DegradedChanged, func(i *backends.Info) { i.Cut = nil })
		become(true, backends.Range{Offset: 5 * m, Length: m})
		dev.fence(backends.Range{Offset: 4*m + 512, Length: 512}, backends.Range{Offset: m, Length: m},
			backends.Range{Offset: 5*m - 512, Length: 1024}, backends.Range{Offset: 4 * m, Length: 512})
		const held = PathsDegraded | PathsHeld
		check("held", 0, 8*m, nc.Extent{Length: m}, nc.Extent{Length: m, Flags: held}, nc.Extent{Length: 2 * m},
			nc.Extent{Length: 1024, Flags: held}, nc.Extent{Length: m - 1536}, nc.Extent{Length: 1024, Flags: held},
			nc.Extent{Length: m - 512, Flags: PathsDegraded}, nc.Extent{Length: 2 * m})
		check("a part of what is held", m+512, 512, nc.Extent{Length: 512, Flags: held})
		dev.fence()
		become(false, backends.Range{Offset: 4 * m, Length: 4 * m})
		check("gone", 0, 8*m, nc.Extent{Length: 4 * m, Flags: PathsNone}, nc.Extent{Length: 4 * m, Flags: PathsNone | PathsDegraded})
		r.Close()
	}
}

// BLOCK_STATUS with a payload is about the contexts that it names.
func TestB52StatusPayload(t *testing.T) {
	dev := newTestDevice(t, diskSize)
	r := offer(t, dev).speaking(t, nc.Extended, "base:allocation", "pathgate:paths")
	payload := func(length uint64, ids ...uint32) []byte {
		b := binary.BigEndian.AppendUint64(nil, length)
		for _, id := range ids {
			b = binary.BigEndian.AppendUint32(b, id)
		}
		return b
	}
	for _, ids := range [][]uint32{{allocationID}, {pathsID}, {pathsID, allocationID}} {
		a := r.do(t, nc.Extended, nc.Asked{Cmd: nc.CmdBlockStatus, Length: 1 << 20, Payload: payload(1<<20, ids...)}, ids...)
		if a.Errno != 0 {
			t.Errorf("%v: got %v", ids, a.Errno)
		}
	}
	for name, p := range map[string][]byte{
		"no context":         payload(512),
		"unknown context":    payload(512, 4),
		"both in one":        payload(512, 3),
		"context 0":          payload(512, 0),
		"one twice":          payload(512, 1, 1),
		"three":              payload(512, 1, 2, 1),
		"cut":                payload(512, 1)[:11],
		"one byte more":      append(payload(512, 1), 0),
		"length 0":           payload(0, 1),
		"unaligned":          payload(513, 1),
		"beyond the end":     payload(diskSize+512, 1),
		"length 2^64-512":    payload(1<<64-512, 1),
		"a thousand of them": payload(512, make([]uint32, 1000)...),
	} {
		a := r.do(t, nc.Extended, nc.Asked{Cmd: nc.CmdBlockStatus, Length: 512, Payload: p}, allocationID)
		if a.Errno != nc.EINVAL {
			t.Errorf("%s: got %v, want EINVAL", name, a.Errno)
		}
	}
	// Not where it was not offered.
	r = offer(t, dev).speaking(t, nc.Extended)
	if a := r.do(t, nc.Extended, nc.Asked{Cmd: nc.CmdBlockStatus, Payload: payload(512, 1)}); a.Errno != nc.EINVAL {
		t.Errorf("without a context: got %v", a.Errno)
	}
	// A payload that comes byte by byte.
	r = offer(t, dev).speaking(t, nc.Extended, "base:allocation")
	msg := nc.Extended.Append(nil, &nc.Asked{Cmd: nc.CmdBlockStatus, Cookie: 5, Payload: payload(512, 1)})
	for i := range msg {
		r.Send(msg[i : i+1])
	}
	c, err := r.ReadChunk()
	if err != nil || c.Cookie != 5 || c.Type != nc.ChunkStatusExt {
		t.Errorf("byte by byte: got %+v, %v", c, err)
	}
}

// What is told of a memory disk after random trims and writes agrees with what is
// read from it: no zero is told where there is data.
func TestStatusAgreesWithReads(t *testing.T) {
	r := offer(t, memory(t, diskSize)).speaking(t, nc.Extended, "base:allocation")
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 40 {
		off := rnd.Uint64N(diskSize>>20) << 20
		if rnd.IntN(2) == 0 {
			p := make([]byte, 4096)
			p[rnd.IntN(len(p))] = 1
			r.do(t, nc.Extended, nc.Asked{Cmd: nc.CmdWrite, Offset: off, Payload: p})
		} else {
			r.do(t, nc.Extended, nc.Asked{Cmd: nc.CmdTrim, Offset: off, Length: 1 << 20})
		}
	}
	a := r.do(t, nc.Extended, nc.Asked{Cmd: nc.CmdBlockStatus, Length: diskSize}, allocationID)
	at, zeros := uint64(0), 0
	for _, e := range a.Status[allocationID] {
		if e.Flags&stateZero != 0 {
			zeros++
			for off := at; off < at+e.Length; off += 1 << 20 {
				if got := r.do(t, nc.Extended, nc.Asked{Cmd: nc.CmdRead, Offset: off, Length: min(1<<20, at+e.Length-off)}); !isZero(got.Data) {
					t.Errorf("data at %d, told to be zero", off)
				}
			}
		}
		at += e.Length
	}
	if at != diskSize || zeros == 0 {
		t.Errorf("told of %d bytes with %d zero extents", at, zeros)
	}
}
