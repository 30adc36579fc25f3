// SPDX-License-Identifier: Apache-2.0

package stamp

import (
	"bytes"
	"testing"
)

func stampOf(o *op) []byte {
	b := make([]byte, SectorSize)
	Stamp{Run: 1, LBA: 3, Writer: o.writer, Seq: o.seq}.Put(b)
	return b
}

func mix(a, b []byte, cut int) []byte { return append(bytes.Clone(a[:cut]), b[cut:]...) }

func TestReadInTheMiddleOfAWrite(t *testing.T) {
	m := newModel(1, 8, nil)
	zero := make([]byte, SectorSize)
	judge := func(name string, r read, b []byte, good bool) {
		t.Helper()
		if bad := m.endRead(r, b); (len(bad) == 0) != good {
			t.Errorf("%s: violations %v", name, bad)
		}
	}
	one := m.beginWrite(1, 3, 1)
	judge("over initial zeros", m.beginRead(3, 1), mix(stampOf(one), zero, 100), true)
	judge("the other way round", m.beginRead(3, 1), mix(zero, stampOf(one), 100), true)
	m.endWrite(one, false)
	judge("at rest", m.beginRead(3, 1), mix(stampOf(one), zero, 100), false)

	two := m.beginWrite(2, 3, 1)
	r := m.beginRead(3, 1)
	m.endWrite(two, false)
	judge("write ended during the read", r, mix(stampOf(two), stampOf(one), 300), true)
	three := m.beginWrite(1, 3, 1)
	patchwork := stampOf(three)
	for at := 0; at < SectorSize; at += 128 {
		copy(patchwork[at:at+64], stampOf(two)[at:at+64])
	}
	judge("line by line", m.beginRead(3, 1), patchwork, true)
	judge("with a value that is gone", m.beginRead(3, 1), mix(stampOf(three), stampOf(one), 300), false)
	damaged := mix(stampOf(three), stampOf(two), 300)
	damaged[299] ^= 1
	judge("with a byte of nobody", m.beginRead(3, 1), damaged, false)
	m.endWrite(three, true)
	judge("after an error", m.beginRead(3, 1), mix(stampOf(three), stampOf(two), 300), false)
	if m.races != 4 {
		t.Errorf("%d races, want 4", m.races)
	}
	m.atomic = true
	four := m.beginWrite(1, 3, 1)
	judge("atomic target", m.beginRead(3, 1), mix(stampOf(four), stampOf(two), 100), false)
}
