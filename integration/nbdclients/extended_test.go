// SPDX-License-Identifier: Apache-2.0

//go:build integration

package nbdclients

import (
	"encoding/binary"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"pathgate/integration/gate"
	nc "pathgate/integration/nbdclient"
)

// TestExtended: each command with lengths that need 64 bits, which older libnbd does not send.
func TestExtended(t *testing.T) {
	t.Parallel()
	const gib, mib = uint64(1) << 30, uint64(1) << 20
	const size = 9 * gib
	g := gate.New(t, gate.Config{Disks: []string{fmt.Sprintf(`{name: big, file: %q, size: 9GiB}`, filepath.Join(t.TempDir(), "big.img"))}})
	r, err := nc.DialRaw(t.Context(), g.NBD())
	must(t, err)
	t.Cleanup(func() { r.Close() })
	must(t, r.Conn.SetDeadline(time.Now().Add(scriptTimeout)))
	_, err = r.Greet()
	must(t, err)
	must(t, r.Speak(nc.Extended))
	ids, err := r.Meta(nc.OptSetMetaContext, "vm1/big", "base:allocation", "pathgate:paths")
	must(t, err)
	_, err = r.Info(nc.OptGo, "vm1/big")
	must(t, err)
	alloc, paths := ids["base:allocation"], ids["pathgate:paths"]
	cookie := uint64(0)
	do := func(a nc.Asked, contexts ...uint32) *nc.Answer {
		t.Helper()
		cookie++
		a.Cookie = cookie
		got, err := r.Do(nc.Extended, &a, contexts...)
		if err != nil || got.Errno != 0 {
			t.Fatalf("%v: %v, %v %q", a.Cmd, err, got.Errno, got.Message)
		}
		return got
	}
	status := func(want ...nc.Extent) {
		t.Helper()
		a := do(nc.Asked{Cmd: nc.CmdBlockStatus, Length: size}, slices.Collect(maps.Values(ids))...)
		if !slices.Equal(a.Status[alloc], want) || !slices.Equal(a.Status[paths], []nc.Extent{{Length: size}}) {
			t.Errorf("status: got %v, want %v", a.Status, want)
		}
	}
	data := make([]byte, mib)
	for i := range data {
		data[i] = byte(i*7 + 1)
	}
	for _, at := range []uint64{0, 5 * gib, 8 * gib} {
		do(nc.Asked{Cmd: nc.CmdWrite, Offset: at, Payload: data})
	}
	const hole = 3
	status(nc.Extent{Length: mib}, nc.Extent{Length: 5*gib - mib, Flags: hole}, nc.Extent{Length: mib}, nc.Extent{Length: 3*gib - mib, Flags: hole},
		nc.Extent{Length: mib}, nc.Extent{Length: gib - mib, Flags: hole})
	do(nc.Asked{Cmd: nc.CmdCache, Length: size})
	do(nc.Asked{Cmd: nc.CmdTrim, Offset: 4096, Length: 5 * gib, Flags: nc.FlagFUA})
	do(nc.Asked{Cmd: nc.CmdFlush})
	status(nc.Extent{Length: 4096}, nc.Extent{Length: 5 * gib, Flags: hole}, nc.Extent{Length: mib - 4096}, nc.Extent{Length: 3*gib - mib, Flags: hole},
		nc.Extent{Length: mib}, nc.Extent{Length: gib - mib, Flags: hole})
	do(nc.Asked{Cmd: nc.CmdWriteZeroes, Length: size - gib, Flags: nc.FlagFastZero})
	status(nc.Extent{Length: 8 * gib, Flags: hole}, nc.Extent{Length: mib}, nc.Extent{Length: gib - mib, Flags: hole})
	if a := do(nc.Asked{Cmd: nc.CmdRead, Offset: 8*gib - mib, Length: 2 * mib}); !slices.Equal(a.Data[mib:], data) || len(a.Holes) != 1 {
		t.Errorf("holes %v", a.Holes)
	}
	// One extent, of one context.
	b := binary.BigEndian.AppendUint64(nil, size)
	a := do(nc.Asked{Cmd: nc.CmdBlockStatus, Length: size, Flags: nc.FlagReqOne, Payload: binary.BigEndian.AppendUint32(b, alloc)}, alloc)
	if !slices.Equal(a.Status[alloc], []nc.Extent{{Length: 8 * gib, Flags: hole}}) {
		t.Errorf("got %v", a.Status)
	}
}
