// SPDX-License-Identifier: Apache-2.0

//go:build integration

package initiator

import (
	"bytes"
	"testing"

	"pathgate/backends"
)

// TestOperations runs every operation against tgtd, which has them all but
// COMPARE AND WRITE.
func TestOperations(t *testing.T) {
	srv := newTgtd(t, nil)
	_, s, l := connect(t, config(), srv.Portals()[0])
	const off, n = 1 << 20, 64 << 10
	data := randomBytes(n)
	zeros := make([]byte, n)
	caps := []struct {
		name             string
		unmap, writeSame bool
	}{{"plain writes", false, false}, {"UNMAP and WRITE SAME", true, true}}
	for _, c := range caps {
		g := lun1
		g.Unmap, g.WriteSame, g.MaxBlocks = c.unmap, c.writeSame, 48 // zeros take several writes
		set := func(max uint32) { g.MaxBlocks = max; s.SetGeometry(l.Generation, g) }
		for _, fua := range []bool{false, true} {
			set(0)
			write(t, s, off, data)
			set(48)
			if res := do(t, s, &backends.Request{Op: backends.WriteZeroes, Offset: off + 512, Length: n - 1024, FUA: fua}); !res.OK() {
				t.Errorf("%s: write zeroes, FUA %v: %+v", c.name, fua, res)
			}
			set(0)
			want := append(append(append([]byte(nil), data[:512]...), zeros[1024:]...), data[n-512:]...)
			if !bytes.Equal(read(t, s, off, n), want) {
				t.Errorf("%s: zeroed range reads wrong", c.name)
			}
		}
		set(0)
		write(t, s, off, data)
		res := do(t, s, &backends.Request{Op: backends.Unmap, Offset: off, Length: n, FUA: true})
		if c.unmap != res.OK() || !c.unmap && res.Class != backends.Unsupported {
			t.Errorf("%s: unmap: %+v", c.name, res)
		}
	}
	s.SetGeometry(l.Generation, lun1)
	write(t, s, off, data)

	verify := &backends.Request{Op: backends.Verify, Offset: off, Length: n}
	if res := do(t, s, verify); !res.OK() {
		t.Errorf("verify of the medium: %+v", res)
	}
	verify.Data.AppendBytes(data)
	if res := do(t, s, verify); !res.OK() {
		t.Errorf("verify with the right data: %+v", res)
	}
	verify.Data.Release()
	verify.Data.AppendBytes(zeros)
	if res := do(t, s, verify); res.Class != backends.Miscompare {
		t.Errorf("verify with other data: %+v", res)
	}

	caw := &backends.Request{Op: backends.CompareAndWrite, Offset: off, Length: 512}
	caw.Data.AppendBytes(append(append([]byte(nil), data[:512]...), zeros[:512]...))
	if res := do(t, s, caw); res.Class != backends.Unsupported {
		t.Errorf("compare and write: %+v", res)
	}
	if res := do(t, s, &backends.Request{Op: backends.Cache, Offset: off, Length: n}); !res.OK() {
		t.Errorf("cache: %+v", res)
	}
	bs := &backends.Request{Op: backends.BlockStatus, Offset: 0, Length: lun1.Size}
	if res := do(t, s, bs); res.OK() && len(bs.Extents) == 0 {
		t.Errorf("block status: %+v, no extent", res)
	} else {
		t.Logf("block status: %+v, %d extents", res, len(bs.Extents))
	}
	for name, r := range map[string]*backends.Request{
		"unaligned": {Op: backends.Read, Offset: 1, Length: 512},
		"empty":     {Op: backends.Read},
		"beyond":    {Op: backends.Read, Offset: lun1.Size - 512, Length: 1024},
		"overflow":  {Op: backends.Read, Offset: 1<<64 - 512, Length: 1024},
		"no data":   {Op: backends.Write, Length: 512},
		"no op":     {Length: 512},
	} {
		if res := do(t, s, r); res.Class != backends.IllegalRequest || res.Sent != backends.SentNone {
			t.Errorf("%s: %+v", name, res)
		}
	}
}
