// SPDX-License-Identifier: Apache-2.0

package scsi

import (
	"bytes"
	"errors"
	"testing"
)

func modeFixture() ModeData {
	pages := CachingPage{WriteCache: true, NonVolatileDisabled: true}.Append(nil)
	pages = append(pages, 0x4a, 0x01, 0x00, 0x02, 0xaa, 0xbb) // control extension, a subpage
	pages = ControlPage{
		TaskSets: 1, DescriptorSense: true, QueueAlgorithm: 1, ErrorQueue: 3,
		SoftwareWriteProtect: true, TaskAborted: true, BusyTimeout: 0xffff,
	}.Append(pages)
	return ModeData{WriteProtected: true, DPOFUA: true, Descriptors: []byte{0, 1, 0, 0, 0, 0, 2, 0}, Pages: pages}
}

func TestModeData(t *testing.T) {
	want := modeFixture()
	pages := `
		08 12 04 00 0000 0000 0000 0000 01 00 0000 00 000000 # caching: WCE, NV_DIS
		4a 01 0002 aabb                                      # control extension
		0a 0a 24 16 08 40 0000 ffff 0000                     # control: TST, D_SENSE; QAM, QERR; SWP; TAS; busy`
	for _, tc := range []struct {
		size int
		wire string
	}{
		{6, "31 00 90 08 0001000000000200" + pages},            // length, medium, WP+DPOFUA, descriptors
		{10, "0034 00 90 00 00 0008 0001000000000200" + pages}, // the same in the long form
	} {
		wire := fixture(t, tc.wire)
		wantBytes(t, "Append", want.Append(nil, tc.size), wire)
		got, err := DecodeModeData(wire, tc.size)
		if err != nil || !equalMode(got, want) {
			t.Errorf("%d: decoded %+v, %v, want %+v", tc.size, got, err, want)
		}
		wantPrefixErrors(t, wire, func(b []byte) error { _, err := DecodeModeData(b, tc.size); return err })

		list, err := DecodeModeSelectList(wire, tc.size)
		if err != nil || !equalMode(list, want) {
			t.Errorf("%d: MODE SELECT list %+v, %v, want %+v", tc.size, list, err, want)
		}
		c, err := DecodeCachingPage(got.Page(CachingMode, 0))
		if wantC := (CachingPage{WriteCache: true, NonVolatileDisabled: true}); err != nil || c != wantC {
			t.Errorf("caching page %+v, %v, want %+v", c, err, wantC)
		}
		wantBytes(t, "subpage", got.Page(ControlMode, 1), fixture(t, "4a 01 0002 aabb"))
		ctl, err := DecodeControlPage(got.Page(ControlMode, 0))
		wantCtl := ControlPage{
			TaskSets: 1, DescriptorSense: true, QueueAlgorithm: 1, ErrorQueue: 3,
			SoftwareWriteProtect: true, TaskAborted: true, BusyTimeout: 0xffff,
		}
		if err != nil || ctl != wantCtl {
			t.Errorf("control page %+v, %v, want %+v", ctl, err, wantCtl)
		}
		if p := got.Page(InformationalMode, 0); p != nil {
			t.Errorf("page 1Ch is %x, want none", p)
		}
	}
}

func equalMode(a, b ModeData) bool {
	return a.MediumType == b.MediumType && a.WriteProtected == b.WriteProtected && a.DPOFUA == b.DPOFUA &&
		a.LongLBA == b.LongLBA && bytes.Equal(a.Descriptors, b.Descriptors) && bytes.Equal(a.Pages, b.Pages)
}

func TestB26ModeData(t *testing.T) {
	for name, tc := range map[string]struct {
		size int
		wire string
		want error
	}{
		"descriptors beyond the data": {6, "03 00 00 08", ErrTruncated},
		"descriptors of 7 bytes":      {6, "0a 00 00 07 00000000000000", ErrMalformed},
		"long descriptor of 8 bytes":  {10, "000e 00 00 01 00 0008 0000000000000000", ErrMalformed},
		"length below the header":     {6, "02 00 00 00", ErrMalformed},
		"length below long header":    {10, "0005 00 00 00 00 0000", ErrMalformed},
		"page length lies":            {6, "05 00 00 00 08 12", ErrTruncated},
		"page of one byte":            {6, "04 00 00 00 08", ErrTruncated},
		"subpage header cut":          {6, "06 00 00 00 4a 01 00", ErrTruncated},
	} {
		if _, err := DecodeModeData(fixture(t, tc.wire), tc.size); !errors.Is(err, tc.want) {
			t.Errorf("%s: %v, want %v", name, err, tc.want)
		}
	}
	if m, err := DecodeModeSelectList(nil, 6); err != nil || m.Pages != nil {
		t.Errorf("empty MODE SELECT list: %+v, %v", m, err)
	}
	if _, err := DecodeModeSelectList([]byte{0, 0, 0}, 6); !errors.Is(err, ErrTruncated) {
		t.Errorf("MODE SELECT list of 3 bytes: %v, want ErrTruncated", err)
	}
	if b := (ModeData{Pages: make([]byte, 253)}).Append(nil, 6); b != nil {
		t.Error("257 bytes in the form of 6 bytes are not refused")
	}
	if b := (ModeData{Pages: make([]byte, 65536)}).Append(nil, 10); b != nil {
		t.Error("65544 bytes in the form of 10 bytes are not refused")
	}
}

func TestModePages(t *testing.T) {
	caching := CachingPage{ReadCacheDisabled: true}.Append(nil)
	wantPrefixErrors(t, caching, func(b []byte) error { _, err := DecodeCachingPage(b); return err })
	control := ControlPage{BusyTimeout: 5}.Append(nil)
	wantPrefixErrors(t, control, func(b []byte) error { _, err := DecodeControlPage(b); return err })
	if _, err := DecodeCachingPage(control); !errors.Is(err, ErrMalformed) {
		t.Errorf("control page as caching page: %v, want ErrMalformed", err)
	}
	if _, err := DecodeCachingPage([]byte{0x08, 2, 4, 0}); !errors.Is(err, ErrMalformed) {
		t.Errorf("caching page of 4 bytes: %v, want ErrMalformed", err)
	}
	// SCSI-2 lengths.
	if c, err := DecodeCachingPage([]byte{0x88, 10, 4, 11: 0}); err != nil || !c.WriteCache {
		t.Errorf("caching page of 12 bytes: %+v, %v", c, err)
	}
	if c, err := DecodeControlPage([]byte{0x0a, 6, 0, 0, 8, 0, 0, 0}); err != nil || !c.SoftwareWriteProtect || c.BusyTimeout != 0 {
		t.Errorf("control page of 8 bytes: %+v, %v", c, err)
	}
}

func FuzzMode(f *testing.F) {
	f.Add(modeFixture().Append(nil, 6))
	f.Add(modeFixture().Append(nil, 10))
	f.Add(captured(f)["ms6-3f"])
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, size := range []int{6, 10} {
			m, err := DecodeModeData(b, size)
			if err != nil {
				continue
			}
			again, err := DecodeModeData(m.Append(nil, size), size)
			if err != nil || !equalMode(m, again) {
				t.Errorf("%+v decodes again as %+v, %v", m, again, err)
			}
			if c, err := DecodeCachingPage(m.Page(CachingMode, 0)); err == nil {
				same(t, c, c.Append(nil), DecodeCachingPage)
			}
			if c, err := DecodeControlPage(m.Page(ControlMode, 0)); err == nil {
				same(t, c, c.Append(nil), DecodeControlPage)
			}
			_, _ = DecodeModeSelectList(b, size)
		}
		_, _ = DecodeCachingPage(b)
		_, _ = DecodeControlPage(b)
	})
}
