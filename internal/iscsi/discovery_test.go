// SPDX-License-Identifier: Apache-2.0

package iscsi

import (
	"reflect"
	"strings"
	"testing"
)

func TestTargetAddress(t *testing.T) {
	for _, c := range []struct {
		in   string
		want TargetAddress
		out  string
	}{ // the first four are the examples of 13.8
		{"10.0.0.1:5003,1", TargetAddress{"10.0.0.1", 5003, 1, true}, "10.0.0.1:5003,1"},
		{"[1080:0:0:0:8:800:200C:417A],65", TargetAddress{"1080:0:0:0:8:800:200C:417A", 3260, 65, true}, "[1080:0:0:0:8:800:200C:417A]:3260,65"},
		{"[1080::8:800:200C:417A]:5003,1", TargetAddress{"1080::8:800:200C:417A", 5003, 1, true}, "[1080::8:800:200C:417A]:5003,1"},
		{"computingcenter.example.com,23", TargetAddress{"computingcenter.example.com", 3260, 23, true}, "computingcenter.example.com:3260,23"},
		{"10.0.0.1", TargetAddress{"10.0.0.1", 3260, 0, false}, "10.0.0.1:3260"},
		{"h:0x0cbc,0xffff", TargetAddress{"h", 3260, 65535, true}, "h:3260,65535"},
	} {
		got, err := ParseTargetAddress(c.in)
		if err != nil || got != c.want || got.String() != c.out {
			t.Errorf("%q: got %+v (%s), %v, want %+v (%s)", c.in, got, got, err, c.want, c.out)
		}
	}
	for _, in := range []string{ // HAZARDS B40
		"", ":3260", ",1", "h:0", "h:65536", "h:", "h:-1", "h:1:2", "h,65536", "h,", "h,1,2", "::1", "fe80::1,1", "[::1", "[::1]3260", "[::1]:", "[h]", "[10.0.0.1]",
		"[::1%lo]", "[]", "a b", "a/b", "user@host", "a\x01b", strings.Repeat("h", 254),
	} {
		_, err := ParseTargetAddress(in)
		wantCode(t, in, err, CodeText)
	}
}

func TestRedirectAddress(t *testing.T) {
	a, err := RedirectAddress(pairs("TargetAddress=10.0.0.2:3261,9 TargetAddress=10.0.0.3"))
	if err != nil || a != (TargetAddress{Host: "10.0.0.2", Port: 3261}) {
		t.Errorf("got %+v, %v", a, err)
	}
	_, err = RedirectAddress(nil)
	wantCode(t, "no address", err, CodeMissingParameter)
}

func TestParseSendTargets(t *testing.T) {
	b := []byte("TargetName=iqn.1993-11.com.example:diskarray.sn.8675309\x00TargetAddress=10.1.0.45:3000,1\x00TargetAddress=10.1.1.45:3000,2\x00" +
		"TargetName=iqn.1993-11.com.example:diskarray.sn.1234567\x00")
	want := []TargetRecord{
		{"iqn.1993-11.com.example:diskarray.sn.8675309", []TargetAddress{{"10.1.0.45", 3000, 1, true}, {"10.1.1.45", 3000, 2, true}}},
		{"iqn.1993-11.com.example:diskarray.sn.1234567", nil},
	}
	got, err := ParseSendTargets(b, 4)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	if out := SendTargetsText(want).Append(nil); string(out) != string(b) {
		t.Errorf("encoded %q, want %q", out, b)
	}
	if got, err := ParseSendTargets(nil, 4); got != nil || err != nil {
		t.Errorf("no targets: got %v, %v", got, err)
	}
	for in, want := range map[string]ErrorCode{
		"TargetAddress=10.0.0.1,1\x00":                                      CodeNegotiation, // before a name
		"TargetName=iqn.x\x00TargetAddress=10.0.0.1\x00":                    CodeNegotiation, // no tag
		"TargetName=iqn.x\x00TargetAddress=::1,1\x00":                       CodeText,
		"TargetName=not a name\x00":                                         CodeText,
		"TargetName=iqn.x\x00X-a=b\x00":                                     CodeNegotiation,
		"TargetName=iqn.x":                                                  CodeText,
		strings.Repeat("TargetName=iqn.x\x00", 5):                           CodeNegotiation,
		"TargetName=iqn.x\x00" + strings.Repeat("TargetAddress=h,1\x00", 4): CodeNegotiation,
	} {
		_, err := ParseSendTargets([]byte(in), 4)
		wantCode(t, in, err, want)
	}
}

func TestValidateName(t *testing.T) {
	for name, ok := range map[string]bool{
		"iqn.1993-11.com.disk-vendor:diskarrays.sn.45678": true, "eui.020000023B040506": true, "naa.52004567BA64678D": true,
		"naa.62004567BA64678D0123456789ABCDEF": true, "iqn.2026-11.x:with_underscore": true, "iqn.2026-11.x:ü": true,
		"iqn." + strings.Repeat("a", 219): true, "iqn." + strings.Repeat("a", 220): false,
		"": false, "iqn": false, "iqn.": false, "x.y": false, "iqn.a b": false, "iqn.a\x00": false, "iqn.a=b": false, "iqn.a/b": false, "iqn.a,b": false,
		"eui.02000002": false, "eui.020000023B04050g": false, "naa.5": false, "iqn.\xff": false,
	} {
		if err := ValidateName(name); (err == nil) != ok {
			t.Errorf("%q: %v, want legal %v", name, err, ok)
		}
	}
}

func TestISID(t *testing.T) {
	for _, c := range []struct {
		got    ISID
		want   string
		format ISIDFormat
	}{ // 11.12.5
		{OUIISID([3]byte{0x00, 0x02, 0x3d}, 0x123456), "00023d123456", ISIDOUI}, // open-iscsi: OUI 00-02-3D
		{OUIISID([3]byte{0xff, 0x02, 0x3d}, 1), "3f023d000001", ISIDOUI},        // I/G and U/L dropped
		{ENISID(0x123456, 0x789a), "40123456789a", ISIDEN},
		{RandomISID(0xffffffff, 1), "80ffffff0001", ISIDRandom},
	} {
		if c.got.String() != c.want || c.got.Format() != c.format {
			t.Errorf("got %v, format %v, want %s, %v", c.got, c.got.Format(), c.want, c.format)
		}
		if back, err := ParseISID(c.want); err != nil || back != c.got {
			t.Errorf("ParseISID(%s) = %v, %v", c.want, back, err)
		}
	}
	for _, s := range []string{"", "00023d12345", "00023d1234567", "00023d12345g"} {
		_, err := ParseISID(s)
		wantCode(t, s, err, CodeText)
	}
	if a, b := NewISID(), NewISID(); a == b || a.Format() != ISIDRandom {
		t.Errorf("NewISID gives %v and %v", a, b)
	}
}
