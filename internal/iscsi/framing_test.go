// SPDX-License-Identifier: Apache-2.0

package iscsi

import (
	"bytes"
	"errors"
	"testing"
)

// crcVectors are RFC 7143 A.4 (CRC Examples).
func crcVectors(t testing.TB) []struct{ data, word []byte } {
	up, down := make([]byte, 32), make([]byte, 32)
	for i := range 32 {
		up[i], down[i] = byte(i), byte(31-i)
	}
	return []struct{ data, word []byte }{
		{make([]byte, 32), wire(t, "aa36918a")},
		{bytes.Repeat([]byte{0xff}, 32), wire(t, "43aba862")},
		{up, wire(t, "4e79dd46")},
		{down, wire(t, "5cdb3f11")},
		{wire(t, `
			01 c0 0000 00 000000  # SCSI Command, F R
			00000000 00000000     # LUN
			14000000              # ITT
			00000400              # expected data transfer length
			00000014 00000018     # CmdSN, ExpStatSN
			28000000 00000000 02000000 00000000 # READ(10)`), wire(t, "563a96d9")},
	}
}

func TestCRC32C(t *testing.T) {
	for i, v := range crcVectors(t) {
		for cut := range len(v.data) {
			c := CRC32C(0).Update(v.data[:cut]).Update(v.data[cut:])
			var word [4]byte
			c.Put(word[:])
			if !bytes.Equal(word[:], v.word) || !c.Matches(v.word) {
				t.Fatalf("vector %d cut at %d: got %x, want %x", i, cut, word, v.word)
			}
		}
	}
	if got, want := CRC32C(0).Update([]byte{1}).Pad(3), CRC32C(0).Update([]byte{1, 0, 0, 0}); got != want {
		t.Errorf("padded: got %#x, want %#x", got, want)
	}
	if n := testing.AllocsPerRun(100, func() { _ = CRC32C(0).Update(crcInput[:]).Pad(3).Matches(crcInput[:]) }); n != 0 {
		t.Errorf("digest allocates %v times, want 0", n)
	}
}

var crcInput [HeaderLength]byte // constant

func TestLengths(t *testing.T) {
	for _, c := range []struct {
		name     string
		f        Framing
		ahsWords byte
		data     uint32
		want     Lengths
		total    int
	}{
		{"empty", Framing{true, true, 8192}, 0, 0, Lengths{HeaderDigest: 4}, 52},
		{"no digests", Framing{false, false, 8192}, 0, 8192, Lengths{Data: 8192}, 48 + 8192},
		{"one byte", Framing{true, true, 8192}, 0, 1, Lengths{HeaderDigest: 4, Data: 1, Pad: 3, DataDigest: 4}, 48 + 4 + 4 + 4},
		{"two bytes", Framing{false, true, 8192}, 0, 2, Lengths{Data: 2, Pad: 2, DataDigest: 4}, 48 + 4 + 4},
		{"three bytes", Framing{false, false, 8192}, 0, 3, Lengths{Data: 3, Pad: 1}, 48 + 4},
		{"AHS", Framing{true, false, 8192}, 255, 4, Lengths{AHS: 1020, HeaderDigest: 4, Data: 4}, 48 + 1020 + 4 + 4},
		{"largest", Framing{false, false, MaxDataSegmentLength}, 0, MaxDataSegmentLength, Lengths{Data: MaxDataSegmentLength, Pad: 1}, 48 + 1<<24},
	} {
		var h BHS
		h[4] = c.ahsWords
		h.SetDataSegmentLength(c.data)
		got, err := c.f.Lengths(&h)
		if err != nil || got != c.want || got.Total() != c.total || got.Head()+got.Body() != c.total {
			t.Errorf("%s: got %+v, total %d, %v; want %+v, %d", c.name, got, got.Total(), err, c.want, c.total)
		}
		if n := testing.AllocsPerRun(10, func() { _, _ = c.f.Lengths(&h) }); n != 0 {
			t.Errorf("%s: allocates %v times, want 0", c.name, n)
		}
	}
}

// TestB03DataSegmentLengthAboveLimit: the length is refused before anything could be allocated by it.
func TestB03DataSegmentLengthAboveLimit(t *testing.T) {
	for _, c := range []struct {
		f Framing
		n uint32
	}{{Framing{}, 1}, {LoginFraming(), 8193}, {Framing{MaxData: 65536}, MaxDataSegmentLength}} {
		var h BHS
		h.SetDataSegmentLength(c.n)
		_, err := c.f.Lengths(&h)
		wantCode(t, "too long", err, CodeLength)
		_, _, need, err := c.f.Split(h[:])
		wantCode(t, "too long", err, CodeLength)
		if need != 0 {
			t.Errorf("asks for %d bytes of a segment that is too long", need)
		}
	}
}

// TestB01EveryPrefixIsAnError cuts a PDU with all parts at every byte.
func TestB01EveryPrefixIsAnError(t *testing.T) {
	ahs := CommandAHS{ExtendedCDB: make([]byte, 17), HasBidiRead: true, BidiRead: 99}.Append(nil)
	data := []byte("thirteen byte")
	for _, f := range []Framing{{false, false, 64}, {true, false, 64}, {false, true, 64}, {true, true, 64}} {
		var h BHS
		SCSICommand{Final: true, Write: true, ITT: 1, ExpectedDataTransferLength: 13}.Encode(&h)
		whole := f.AppendPacket(nil, &h, ahs, data)
		for n := range whole {
			_, took, need, err := f.Split(whole[:n])
			wantCode(t, "prefix", err, CodeLength)
			if took != 0 || need <= n || need > len(whole) {
				t.Fatalf("%+v: %d of %d bytes: took %d, needs %d", f, n, len(whole), took, need)
			}
		}
		p, took, _, err := f.Split(append(whole, 0xaa))
		if err != nil || took != len(whole) || *p.BHS != h || !bytes.Equal(p.AHS, ahs) || !bytes.Equal(p.Data, data) {
			t.Fatalf("%+v: got %+v, %d bytes, %v", f, p, took, err)
		}
	}
}

// TestB06DigestErrors flips every bit of a PDU. TestB05: padding belongs to the digest, never to the data.
func TestB06DigestErrors(t *testing.T) {
	f := Framing{true, true, 64}
	var h BHS
	NOPOut{Immediate: true, ITT: 1, TTT: NoTag}.Encode(&h)
	whole := f.AppendPacket(nil, &h, nil, []byte("ping!"))
	l, _ := f.Lengths(&h)
	for i := range len(whole) * 8 {
		b := bytes.Clone(whole)
		b[i/8] ^= 1 << (i % 8)
		_, _, _, err := f.Split(b)
		switch {
		case i/8 >= l.Head():
			wantCode(t, "data bit", err, CodeDataDigest)
		case i/8 >= offTotalAHSLength && i/8 < offLUN: // lengths: too long, cut short, or caught by the digest
			if !errors.Is(err, CodeLength) && !errors.Is(err, CodeHeaderDigest) {
				t.Errorf("byte %d: %v", i/8, err)
			}
		default:
			wantCode(t, "header bit", err, CodeHeaderDigest)
		}
	}
}

func TestB05PaddingIsNotData(t *testing.T) {
	f := Framing{false, true, 64}
	var h BHS
	NOPOut{Immediate: true, ITT: 1, TTT: NoTag, DataSegmentLength: 5}.Encode(&h)
	b := append(h[:], "ping!\x01\x02\x03"...)
	var word [4]byte
	CRC32C(0).Update(b[HeaderLength:]).Put(word[:])
	p, _, _, err := f.Split(append(b, word[:]...))
	if err != nil || string(p.Data) != "ping!" || cap(p.Data) != 5 {
		t.Errorf("got %q (cap %d), %v", p.Data, cap(p.Data), err)
	}
}

func TestCheckShortInput(t *testing.T) {
	f := Framing{true, true, 64}
	for n := range HeaderLength + DigestLength {
		wantCode(t, "short head", f.CheckHead(make([]byte, n)), func() ErrorCode {
			if n < HeaderLength+DigestLength {
				return CodeLength
			}
			return CodeHeaderDigest
		}())
	}
	wantCode(t, "short body", f.CheckBody(Lengths{Data: 4, DataDigest: 4}, make([]byte, 7)), CodeLength)
}

func TestEncodePanicsOnLengthsThatDoNotFit(t *testing.T) {
	var h BHS
	for name, f := range map[string]func(){
		"data":           func() { h.SetDataSegmentLength(1 << 24) },
		"AHS":            func() { SCSICommand{TotalAHSLength: 1024}.Encode(&h) },
		"odd AHS":        func() { SCSICommand{TotalAHSLength: 6}.Encode(&h) },
		"packet AHS":     func() { Framing{}.AppendPacket(nil, &h, make([]byte, 5), nil) },
		"extended CDB":   func() { CommandAHS{ExtendedCDB: make([]byte, 245)}.Append(nil) },
		"sense too long": func() { AppendSense(nil, make([]byte, 1<<16)) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			f()
		}()
	}
}
