// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"io"
	"net"
	"testing"
)

// makePDU builds a PDU by the text of RFC 7143 11.2, with right digests.
func makePDU(op Opcode, data []byte, d digests) []byte {
	return makeBHS([]byte{byte(op), 0x80}, data, d)
}

func makeBHS(begin, data []byte, d digests) []byte {
	b := make([]byte, bhsLen)
	copy(b, begin)
	b[5], b[6], b[7] = byte(len(data)>>16), byte(len(data)>>8), byte(len(data))
	crc := func(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }
	if d.header {
		b = binary.LittleEndian.AppendUint32(b, crc(b))
	}
	at := len(b)
	b = append(b, data...)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	if d.data && len(data) > 0 {
		b = binary.LittleEndian.AppendUint32(b, crc(b[at:]))
	}
	return b
}

// login passes a login through both directions that ends with the given keys.
func login(t *testing.T, c, s net.Conn, keys string) {
	t.Helper()
	req := makeBHS([]byte{0x43, 0x87}, []byte("InitiatorName=iqn.x\x00"), digests{})
	send(t, c, req)
	expect(t, s, req)
	resp := makeBHS([]byte{0x23, 0x87}, []byte(keys), digests{})
	send(t, s, resp)
	expect(t, c, resp)
}

const bothDigests = "HeaderDigest=CRC32C\x00DataDigest=CRC32C\x00"

func TestFramerAtEveryCut(t *testing.T) {
	d := digests{true, true}
	stream := bytes.Join([][]byte{
		makePDU(SCSICommand, nil, d), makePDU(DataOut, []byte("abcde"), d), makePDU(NOPOut, []byte("1234"), d),
	}, nil)
	for cut := range stream {
		ses := &session{}
		ses.header.Store(true)
		ses.data.Store(true)
		ses.full.Store(true)
		f := framer{protocol: ISCSI, session: ses}
		var ops []Opcode
		data, carry := 0, []byte(nil)
		for _, chunk := range [][]byte{stream[:cut], stream[cut:]} {
			b := append(carry, chunk...)
			for {
				s, _, ok := f.next(b, false)
				if !ok {
					break
				}
				if s.first {
					ops = append(ops, s.pdu.Opcode)
				}
				data += s.dataBytes()
				b = b[s.len:]
			}
			carry = bytes.Clone(b)
		}
		if len(carry) != 0 || len(ops) != 3 || ops[1] != DataOut || data != 9 {
			t.Fatalf("cut at %d: opcodes %v, %d data bytes, %d left over", cut, ops, data, len(carry))
		}
	}
}

func TestDigestsAreLearnt(t *testing.T) {
	for keys, want := range map[string]digests{
		bothDigests: {true, true},
		"HeaderDigest=None\x00DataDigest=CRC32C\x00": {false, true},
		"TargetPortalGroupTag=1\x00":                 {},
	} {
		r := newRig(t, Options{Protocol: ISCSI})
		c, s := r.dial()
		login(t, c, s, keys)
		var stream []byte
		for range 3 {
			stream = append(stream, makePDU(DataOut, []byte("odd"), want)...)
		}
		send(t, c, stream)
		expect(t, s, stream)
		r.wait("three PDUs", func(c Counters) bool { return c.PDUs(DataOut) == 3 && c.ToTarget.DataBytes == 20+9 })
		if got := r.Counters(); got.PDUs(Login) != 1 || got.PDUs(LoginResponse) != 1 {
			t.Errorf("%q: counters %v", keys, got)
		}
	}
}

// The second half of a chosen write stays behind, as in the ghost write of a
// path that hangs in the middle of a PDU.
func TestHoldSecondHalfOfDataOut(t *testing.T) {
	r := newRig(t, Options{Protocol: ISCSI})
	c, s := r.dial()
	login(t, c, s, bothDigests)
	d := digests{true, true}
	f, err := ParseFault("hold dir=to-target opcode=data-out nth=2 at=half")
	if err != nil {
		t.Fatal(err)
	}
	r.MustSet(f)
	first, second := makePDU(DataOut, bytes.Repeat([]byte{1}, 4096), d), makePDU(DataOut, bytes.Repeat([]byte{2}, 4096), d)
	after := makePDU(NOPOut, nil, d)
	send(t, c, bytes.Join([][]byte{first, second, after}, nil))
	expect(t, s, first)
	half := bhsLen + 4 + 2048
	expect(t, s, second[:half])
	r.wait("rest is held", func(c Counters) bool {
		return c.Fault(Hold).Bytes == int64(len(second)-half+len(after))
	})
	expectSilence(t, s)
	send(t, s, makePDU(NOPIn, nil, d)) // the other direction lives
	expect(t, c, makePDU(NOPIn, nil, d))
	c.Close()
	r.Clear()
	expect(t, s, second[half:])
	expect(t, s, after)
	expectEnd(t, s, io.EOF)
}

func TestTriggerAcrossReads(t *testing.T) {
	r := newRig(t, Options{Protocol: ISCSI})
	c, s := r.dial()
	login(t, c, s, "")
	r.MustSet(Fault{Kind: Drop, Dir: ToTarget, At: &Trigger{When: PDU.Write, Offset: 48 + 7}})
	read := makeBHS([]byte{byte(SCSICommand), 0xc0}, nil, digests{})
	write := makeBHS([]byte{byte(SCSICommand), 0xa0}, []byte("0123456789"), digests{})
	send(t, c, read)
	expect(t, s, read)
	for _, b := range write { // byte by byte: header and trigger span many reads
		if _, err := c.Write([]byte{b}); err != nil {
			break // dropped
		}
	}
	got, err := io.ReadAll(s)
	if err != nil || !bytes.Equal(got, write[:48+7]) {
		t.Errorf("got %q (%v), want the first 7 bytes of data", got[48:], err)
	}
}

func TestCorruptData(t *testing.T) {
	for _, repaired := range []bool{false, true} {
		r := newRig(t, Options{Protocol: ISCSI, Seed: 7})
		c, s := r.dial()
		login(t, c, s, bothDigests)
		r.MustSet(Fault{Kind: Corrupt, Dir: ToTarget, Repair: repaired, At: &Trigger{Opcodes: []Opcode{DataOut}}})
		d := digests{true, true}
		sent := makePDU(DataOut, make([]byte, 4093), d)
		send(t, c, sent)
		got := make([]byte, len(sent))
		if _, err := io.ReadFull(s, got); err != nil {
			t.Fatal(err)
		}
		data := got[bhsLen+4 : bhsLen+4+4093]
		if bytes.Equal(data, make([]byte, 4093)) {
			t.Error("no bit was flipped")
		}
		right := bytes.Equal(got, makePDU(DataOut, data, d))
		if right != repaired {
			t.Errorf("repair=%v: digest fits: %v", repaired, right)
		}
		next := makePDU(DataOut, make([]byte, 64), d) // Nth is 1: only the first
		send(t, c, next)
		expect(t, s, next)
		if e := r.Counters().Fault(Corrupt); e.Times != 1 {
			t.Errorf("effect %+v", e)
		}
	}
}

func TestCorruptHeader(t *testing.T) {
	r := newRig(t, Options{Protocol: ISCSI})
	c, s := r.dial()
	login(t, c, s, "")
	r.MustSet(Fault{Kind: Corrupt, Part: Header, At: &Trigger{Opcodes: []Opcode{NOPOut}, Offset: 20}})
	sent := makePDU(NOPOut, nil, digests{})
	send(t, c, sent)
	got := make([]byte, len(sent))
	if _, err := io.ReadFull(s, got); err != nil {
		t.Fatal(err)
	}
	got[20] = sent[20]
	if !bytes.Equal(got, sent) {
		t.Error("a byte other than 20 was changed")
	}
}

func TestDuplicateOnLaterConnection(t *testing.T) {
	r := newRig(t, Options{Protocol: ISCSI})
	c, s := r.dial()
	r.MustSet(Fault{Kind: Duplicate, Dir: ToTarget, At: &Trigger{When: PDU.Write, Repeat: true}})
	login(t, c, s, "")
	write := makeBHS([]byte{byte(SCSICommand), 0xa0}, []byte("data of one"), digests{})
	nop := makePDU(NOPOut, nil, digests{})
	send(t, c, append(bytes.Clone(write), nop...))
	expect(t, s, write)
	expect(t, s, nop)
	c.Close()

	c2, s2 := r.dial()
	login(t, c2, s2, "")
	send(t, c2, nop)
	expect(t, s2, nop)
	expect(t, s2, write) // it was never sent on this connection
	send(t, c2, nop)
	expect(t, s2, nop) // and comes once
	if e := r.Counters().Fault(Duplicate); e.Times != 1 || e.Bytes != int64(len(write)) {
		t.Errorf("effect %+v", e)
	}
}

func TestDuplicateOnSameConnection(t *testing.T) {
	r := newRig(t, Options{Protocol: ISCSI})
	c, s := r.dial()
	login(t, c, s, "")
	r.MustSet(Fault{Kind: Duplicate, SameConn: true, Dir: ToTarget, At: &Trigger{Nth: 2}})
	one, two := makePDU(NOPOut, []byte("1"), digests{}), makePDU(NOPOut, []byte("2"), digests{})
	send(t, c, append(bytes.Clone(one), two...))
	expect(t, s, one)
	expect(t, s, two)
	expect(t, s, two)
	expectSilence(t, s)
}

func TestParseFault(t *testing.T) {
	good := map[string]Fault{
		"reset": {Kind: Reset},
		"delay dir=to-client delay=5ms jitter=1ms": {Kind: Delay, Dir: ToClient, Delay: 5e6, Jitter: 1e6},
		"rate rate=0x1000 conn=2":                  {Kind: Rate, BytesPerSecond: 4096, Conn: 2},
		"corrupt mean=1000 part=header repair=yes": {Kind: Corrupt, MeanBytes: 1000, Part: Header, Repair: true},
		"black-hole":              {Kind: BlackHole},
		"duplicate same-conn=yes": {Kind: Duplicate, SameConn: true},
	}
	for s, want := range good {
		if got, err := ParseFault(s); err != nil || got != want {
			t.Errorf("%q: got %+v, %v", s, got, err)
		}
	}
	f, err := ParseFault("hold opcode=data-out,0x01 nth=3 at=48 repeat=yes write=yes")
	if err != nil || f.At == nil || len(f.At.Opcodes) != 2 || f.At.Nth != 3 || f.At.Offset != 48 || !f.At.Repeat || f.At.When == nil {
		t.Errorf("got %+v, %v", f.At, err)
	}
	for _, s := range []string{"", "burn", "hold dir=up", "hold opcode=none", "hold x=1", "delay delay=soon", "corrupt part=tail", "hold repeat=maybe"} {
		if _, err := ParseFault(s); err == nil {
			t.Errorf("%q was taken", s)
		}
	}
}
