// SPDX-License-Identifier: Apache-2.0

package scsi

import (
	"bytes"
	"testing"

	"pathgate/internal/scsi"
)

// TestLogSense: the pages that are listed are there, and no others.
func TestLogSense(t *testing.T) {
	c := newBed(t, UnitConfig{}).open(0, 1)
	ask := func(page, subpage byte) scsi.CDB {
		return scsi.CDB{byte(scsi.OpLogSense), 0, 0x40 | page, subpage, 0, 0, 0, 0, 64}
	}
	for name, tt := range map[string]struct {
		page, subpage byte
		want          []byte
	}{
		"supported pages":              {0, 0, []byte{0, 0, 0, 2, 0, 0x2f}},
		"supported pages and subpages": {0, 0xff, []byte{0x40, 0xff, 0, 6, 0, 0, 0, 0xff, 0x2f, 0}},
		"no informational exception":   {0x2f, 0, []byte{0x2f, 0, 0, 8, 0, 0, 3, 4, 0, 0, 0xff, 0}},
	} {
		if got := c.good(ask(tt.page, tt.subpage), nil, 64); !bytes.Equal(got, tt.want) {
			t.Errorf("%s: %x, want %x", name, got, tt.want)
		}
	}
	for _, wrong := range []scsi.CDB{ask(0x0d, 0), ask(0x2f, 0xff), ask(0, 1), {byte(scsi.OpLogSense), 1}} {
		c.fails(scsi.CodeInvalidFieldInCDB, wrong, nil, 64)
	}
	short := ask(0x2f, 0)
	short[8] = 4
	if got := c.good(short, nil, 64); len(got) != 4 {
		t.Errorf("%d bytes for an allocation length of 4", len(got))
	}
}

// TestReceiveDiagnostic: there is the list of pages.
func TestReceiveDiagnostic(t *testing.T) {
	c := newBed(t, UnitConfig{}).open(0, 1)
	for _, pcv := range []byte{0, 1} {
		if got := c.good(scsi.CDB{byte(scsi.OpReceiveDiagnostic), pcv, 0, 0, 64}, nil, 64); !bytes.Equal(got, []byte{0, 0, 0, 1, 0}) {
			t.Errorf("%x", got)
		}
	}
	c.fails(scsi.CodeInvalidFieldInCDB, scsi.CDB{byte(scsi.OpReceiveDiagnostic), 1, 1, 0, 64}, nil, 64)
}

// TestPortPages: VPD pages 87h and 88h tell that mode pages are shared, and all ports
// of the target.
func TestPortPages(t *testing.T) {
	c := newBed(t, UnitConfig{}).open(0, 2)
	if got := c.vpd(scsi.PageModePolicy); !bytes.Equal(got, []byte{0, 0x87, 0, 4, 0x3f, 0xff, 0, 0}) {
		t.Errorf("page 87h: %x", got)
	}
	page := c.vpd(scsi.PagePorts)
	at := 4
	for i, name := range []string{targetName + ",t,0x0001", targetName + ",t,0x0002"} {
		if len(page) < at+12 {
			t.Fatalf("page 88h ends early: %x", page)
		}
		n := int(page[at+10])<<8 | int(page[at+11])
		if page[at+3] != byte(i+1) || n < 4 || len(page) < at+12+n || !bytes.HasPrefix(page[at+16:at+12+n], []byte(name+"\x00")) {
			t.Errorf("port %d: %x", i+1, page[at:])
		}
		if page[at+12] != 0x53 || page[at+13] != 0x98 { // iSCSI, UTF-8; of the port, a name
			t.Errorf("port %d: designator %x", i+1, page[at+12:at+16])
		}
		at += 12 + n
	}
	if at != len(page) {
		t.Errorf("%d bytes more", len(page)-at)
	}
}
