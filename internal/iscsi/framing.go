// SPDX-License-Identifier: Apache-2.0

package iscsi

// Framing is what both sides agreed on about the bytes of a connection in one direction. The zero value refuses all data
// segments; during login use LoginFraming.
type Framing struct {
	HeaderDigest bool   // every header is followed by a digest
	DataDigest   bool   // every data segment that is not empty is followed by a digest
	MaxData      uint32 // the receiver's MaxRecvDataSegmentLength in bytes
}

// DefaultMaxRecvDataSegmentLength holds for both sides until they declare another value, and throughout login.
// RFC 7143 13.12 (MaxRecvDataSegmentLength), 6.3 (Login Phase).
const DefaultMaxRecvDataSegmentLength = 8192

// LoginFraming returns the framing of the login phase: no digests, the default data segment length.
func LoginFraming() Framing { return Framing{MaxData: DefaultMaxRecvDataSegmentLength} }

// Lengths are the lengths in bytes of what follows a header, in the order of the stream.
type Lengths struct {
	AHS          int // multiple of 4
	HeaderDigest int // 0 or 4
	Data         int
	Pad          int // 0 to 3
	DataDigest   int // 0 or 4; 0 when Data is 0
}

// Head returns the bytes from the header to the header digest: what must be there before the header can be trusted.
func (l Lengths) Head() int { return HeaderLength + l.AHS + l.HeaderDigest }

// Body returns the bytes from the data segment to the data digest.
func (l Lengths) Body() int { return l.Data + l.Pad + l.DataDigest }

// Total returns the bytes of the whole PDU.
func (l Lengths) Total() int { return l.Head() + l.Body() }

// Lengths returns the lengths of what follows h. It allocates nothing and bounds everything: additional headers by 1020
// bytes, data by MaxData. CodeLength: the data segment is longer than MaxData; the connection ends, since the sender
// knows the limit. With header digests the answer is only to be trusted after CheckHead.
// RFC 7143 11.2 (PDU Template, Header, and Opcodes).
func (f Framing) Lengths(h *BHS) (Lengths, error) {
	n := h.DataSegmentLength()
	if n > f.MaxData {
		return Lengths{}, fault(CodeLength, "data segment above MaxRecvDataSegmentLength")
	}
	l := Lengths{AHS: h.TotalAHSLength(), Data: int(n), Pad: PadLength(int(n))}
	if f.HeaderDigest {
		l.HeaderDigest = DigestLength
	}
	if f.DataDigest && n != 0 {
		l.DataDigest = DigestLength
	}
	return l, nil
}

// PadLength returns the 0 to 3 bytes that fill n bytes up to a multiple of 4.
func PadLength(n int) int { return -n & 3 }

// CheckHead verifies the header digest. head is the header, its AHS and the digest: exactly l.Head() bytes.
// CodeHeaderDigest: it is wrong, and the lengths in the header cannot be trusted. CodeLength: head has another length.
func (f Framing) CheckHead(head []byte) error {
	if !f.HeaderDigest {
		return nil
	}
	n := len(head) - DigestLength
	if n < HeaderLength {
		return fault(CodeLength, "header ends before its digest")
	}
	if !CRC32C(0).Update(head[:n]).Matches(head[n:]) {
		return fault(CodeHeaderDigest, "header digest does not match")
	}
	return nil
}

// CheckBody verifies the data digest. body is the data segment, its padding and the digest: exactly l.Body() bytes.
// CodeDataDigest: it is wrong. CodeLength: body has another length than l says. The value of padding bytes is not
// checked beyond the digest.
func (f Framing) CheckBody(l Lengths, body []byte) error {
	if len(body) != l.Body() {
		return fault(CodeLength, "data segment is cut short")
	}
	if l.DataDigest == 0 {
		return nil
	}
	n := l.Data + l.Pad
	if !CRC32C(0).Update(body[:n]).Matches(body[n:]) {
		return fault(CodeDataDigest, "data digest does not match")
	}
	return nil
}

// Packet is one PDU cut out of a byte slice. All fields are views of that slice.
type Packet struct {
	BHS  *BHS
	AHS  []byte
	Data []byte // without padding
}

// Split cuts the first PDU off b, verifies its digests, and returns how many bytes it took. When b does not hold the
// whole PDU yet, n is 0 and the error CodeLength; need is then the length that b must have before Split gets further (of
// the header first, of the whole PDU next). It is for tests and for connections that read into one buffer; package
// stream reads data segments straight to their destination instead.
func (f Framing) Split(b []byte) (p Packet, n, need int, err error) {
	if len(b) < HeaderLength {
		return Packet{}, 0, HeaderLength, fault(CodeLength, "header is cut short")
	}
	h := (*BHS)(b)
	l, err := f.Lengths(h)
	if err != nil {
		return Packet{}, 0, 0, err
	}
	if len(b) < l.Head() {
		return Packet{}, 0, l.Head(), fault(CodeLength, "additional header or header digest is cut short")
	}
	if err := f.CheckHead(b[:l.Head()]); err != nil {
		return Packet{}, 0, 0, err
	}
	if len(b) < l.Total() {
		return Packet{}, 0, l.Total(), fault(CodeLength, "data segment is cut short")
	}
	body := b[l.Head():l.Total()]
	if err := f.CheckBody(l, body); err != nil {
		return Packet{}, 0, 0, err
	}
	return Packet{BHS: h, AHS: b[HeaderLength : HeaderLength+l.AHS], Data: body[:l.Data:l.Data]}, l.Total(), 0, nil
}

// AppendPacket appends a whole PDU: the header h, whose TotalAHSLength and DataSegmentLength are set to the lengths of
// ahs and data, then ahs, data, padding and digests. ahs is a multiple of 4 and at most 1020 bytes, data at most
// MaxDataSegmentLength; it panics otherwise. It is for the login phase and for tests; connections in the full feature
// phase send data segments without a copy.
func (f Framing) AppendPacket(dst []byte, h *BHS, ahs, data []byte) []byte {
	if len(ahs)%4 != 0 || len(ahs) > totalAHSWords*4 {
		panic("iscsi: additional header segment does not fit")
	}
	h[offTotalAHSLength] = byte(len(ahs) / 4)
	h.SetDataSegmentLength(uint32(min(len(data), MaxDataSegmentLength+1)))
	dst = append(append(dst, h[:]...), ahs...)
	var word [DigestLength]byte
	if f.HeaderDigest {
		CRC32C(0).Update(h[:]).Update(ahs).Put(word[:])
		dst = append(dst, word[:]...)
	}
	if len(data) == 0 {
		return dst
	}
	pad := PadLength(len(data))
	dst = append(append(dst, data...), padding[:pad]...)
	if f.DataDigest {
		CRC32C(0).Update(data).Pad(pad).Put(word[:])
		dst = append(dst, word[:]...)
	}
	return dst
}
