// SPDX-License-Identifier: Apache-2.0

package iscsi

import (
	"bytes"
	"reflect"
	"strconv"
	"strings"
	"testing"
)

func TestTextGolden(t *testing.T) {
	want := Text{{"InitiatorName", "iqn.2026-11.x:a"}, {"HeaderDigest", "CRC32C,None"}, {"InitiatorAlias", "a=b c"}, {"SendTargets", ""}, {"iSCSIProtocolLevel", "1"}, {"X#NodeArchitecture", "x"}}
	b := []byte("InitiatorName=iqn.2026-11.x:a\x00HeaderDigest=CRC32C,None\x00InitiatorAlias=a=b c\x00SendTargets=\x00iSCSIProtocolLevel=1\x00X#NodeArchitecture=x\x00")
	got, err := ParseText(b)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("parsed %v, %v, want %v", got, err, want)
	}
	if out := want.Append(nil); !bytes.Equal(out, b) || want.Len() != len(b) {
		t.Errorf("encoded %q (Len %d), want %q", out, want.Len(), b)
	}
	for n := range b {
		_, err := ParseText(b[:n])
		if n == 0 || b[n-1] == 0 {
			if err != nil {
				t.Errorf("whole pairs, %d bytes: %v", n, err)
			}
			continue
		}
		wantCode(t, "cut at "+strconv.Itoa(n), err, CodeText)
	}
}

// TestB14BadText are the rows of bad text.
func TestB14BadText(t *testing.T) {
	k63, k64 := "K"+strings.Repeat("x", 62), "K"+strings.Repeat("x", 63)
	v255, v256 := strings.Repeat("v", 255), strings.Repeat("v", 256)
	for _, c := range []struct {
		name, in string
		want     ErrorCode // 0: legal
	}{
		{"no equals sign", "HeaderDigest\x00", CodeText},
		{"no null byte", "HeaderDigest=None", CodeText},
		{"empty pair", "\x00", CodeText},
		{"null bytes as filler", "A=b\x00\x00\x00", CodeText},
		{"empty key", "=v\x00", CodeText},
		{"key with a space", "Header Digest=v\x00", CodeText},
		{"key with a control character", "A\x01=v\x00", CodeText},
		{"key in lower case", "headerDigest=v\x00", CodeText},
		{"key of 63", k63 + "=v\x00", 0},
		{"key of 64", k64 + "=v\x00", CodeText},
		{"value of 255", "X-a=" + v255 + "\x00", 0},
		{"value of 256", "X-a=" + v256 + "\x00", CodeText},
		{"long CHAP_R", "CHAP_R=0x" + strings.Repeat("ab", 1024) + "\x00", 0},
		{"too long CHAP_R", "CHAP_R=0x" + strings.Repeat("ab", 1024) + "c\x00", CodeText},
		{"duplicate key", "A=1\x00B=1\x00A=1\x00", CodeNegotiation},
		{"duplicate TargetAddress", "TargetAddress=a\x00TargetAddress=b\x00", 0},
	} {
		_, err := ParseText([]byte(c.in))
		if c.want == 0 {
			if err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
			continue
		}
		wantCode(t, c.name, err, c.want)
	}
	var many Text
	for i := range 2048 {
		many.Add("K"+strconv.Itoa(i), "")
	}
	_, err := ParseText(many.Append(nil))
	wantCode(t, "2048 keys", err, CodeText)
}

func TestB14TextAccumulator(t *testing.T) {
	t.Run("payload limits", func(t *testing.T) {
		for n := 8189; n <= 8194; n++ {
			var a TextAccumulator
			got, err := a.Add(make([]byte, n), false)
			if n <= MaxTextLength && (err != nil || len(got) != n) {
				t.Errorf("%d bytes: got %d, %v", n, len(got), err)
			} else if n > MaxTextLength {
				wantCode(t, "too long", err, CodeText)
			}
		}
	})
	t.Run("joins", func(t *testing.T) {
		var a TextAccumulator
		for round := range 2 {
			for _, part := range []string{"A=", "1\x00B"} {
				if got, err := a.Add([]byte(part), true); got != nil || err != nil || !a.Pending() {
					t.Fatalf("part: got %q, %v, pending %v", got, err, a.Pending())
				}
			}
			got, err := a.Add([]byte("=2\x00"), false)
			if string(got) != "A=1\x00B=2\x00" || err != nil || a.Pending() {
				t.Fatalf("round %d: got %q, %v, pending %v", round, got, err, a.Pending())
			}
		}
	})
	t.Run("bounded in bytes", func(t *testing.T) {
		a := TextAccumulator{Limit: 10}
		if _, err := a.Add(make([]byte, 6), true); err != nil {
			t.Fatal(err)
		}
		_, err := a.Add(make([]byte, 5), true)
		wantCode(t, "11 of 10 bytes", err, CodeText)
		if a.Pending() {
			t.Error("keeps what it refused")
		}
	})
	t.Run("endless C bit", func(t *testing.T) {
		var a TextAccumulator
		var err error
		n := 0
		for ; err == nil && n < 1000; n++ {
			_, err = a.Add([]byte{'A'}, true)
		}
		wantCode(t, "endless", err, CodeText)
		if n > maxSegments+1 {
			t.Errorf("took %d parts", n)
		}
		_, err = a.Add(nil, true)
		wantCode(t, "empty part", err, CodeText)
	})
}

func TestParseNumber(t *testing.T) {
	for _, c := range []struct {
		in   string
		want uint64
		ok   bool
	}{
		{"0", 0, true},
		{"1", 1, true},
		{"262144", 262144, true},
		{"0x0", 0, true},
		{"0XfF", 255, true},
		{"0x00010", 16, true},
		{"18446744073709551615", 1<<64 - 1, true},
		{"0xffffffffffffffff", 1<<64 - 1, true},
		{"18446744073709551616", 0, false},
		{"0x10000000000000000", 0, false},
		{"", 0, false},
		{"00", 0, false},
		{"01", 0, false},
		{"+1", 0, false},
		{"-1", 0, false},
		{" 1", 0, false},
		{"1 ", 0, false},
		{"1_0", 0, false},
		{"0x", 0, false},
		{"0x+1", 0, false},
		{"0x_1", 0, false},
		{"1~2", 0, false},
		{"0b1", 0, false},
		{"x", 0, false},
	} {
		if got, ok := ParseNumber(c.in); ok != c.ok || ok && got != c.want {
			t.Errorf("%q: got %d, %v, want %d, %v", c.in, got, ok, c.want, c.ok)
		}
	}
}

func TestParseBoolean(t *testing.T) {
	for in, want := range map[string][2]bool{"Yes": {true, true}, "No": {false, true}, "yes": {}, "": {}, "1": {}, "None": {}} {
		if v, ok := ParseBoolean(in); v != want[0] || ok != want[1] {
			t.Errorf("%q: got %v, %v, want %v", in, v, ok, want)
		}
	}
}

// TestB17BinaryValues: decoding is bounded by the buffer, whatever the peer sends.
func TestB17BinaryValues(t *testing.T) {
	for _, c := range []struct {
		in   string
		want string // bytes; "-" is an error
	}{
		{"0x00", "\x00"},
		{"0XAbcD", "\xab\xcd"},
		{"0xabc", "\x0a\xbc"},
		{"0x" + strings.Repeat("11", 16), strings.Repeat("\x11", 16)},
		{"0bAQID", "\x01\x02\x03"},
		{"0BAQI=", "\x01\x02"},
		{"0bAQ==", "\x01"},
		{"0b" + strings.Repeat("AAAA", 5) + "AA==", strings.Repeat("\x00", 16)},
		{"", "-"},
		{"0x", "-"},
		{"0b", "-"},
		{"0xg0", "-"},
		{"0x 1", "-"},
		{"11", "-"},
		{"0d11", "-"},
		{"0x" + strings.Repeat("11", 17), "-"},
		{"0x" + strings.Repeat("1", 33), "-"},
		{"0x" + strings.Repeat("1", 4096), "-"},
		{"0b" + strings.Repeat("A", 127), "-"},
		{"0b" + strings.Repeat("A", 128), "-"},
		{"0b" + strings.Repeat("AAAA", 5) + "AAA=", "-"},
		{"0bA", "-"},
		{"0bAQ", "-"},
		{"0bAQI", "-"},
		{"0bA===", "-"},
		{"0b====", "-"},
		{"0bAR==", "-"},
		{"0bAQ\n=", "-"},
		{"0bAQ=A", "-"},
		{"0bAQI=AQID", "-"},
	} {
		var buf [17]byte
		buf[16] = 0xee
		n, err := DecodeBinary(buf[:16], c.in)
		if buf[16] != 0xee {
			t.Fatalf("%q: wrote beyond the buffer", c.in)
		}
		if c.want == "-" {
			wantCode(t, c.in, err, CodeText)
		} else if err != nil || string(buf[:n]) != c.want {
			t.Errorf("%q: got %x, %v, want %x", c.in, buf[:n], err, c.want)
		}
	}
	if got := EncodeBinary([]byte{0, 0xab}); got != "0x00ab" {
		t.Errorf("EncodeBinary: got %q", got)
	}
}
