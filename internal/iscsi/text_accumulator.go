// SPDX-License-Identifier: Apache-2.0

package iscsi

// maxSegments bounds the PDUs of one logical text segment, so that a peer cannot keep a login alive with C bits.
const maxSegments = 32

// TextAccumulator joins the data segments of PDUs with the C bit into one logical text segment. The zero value is ready
// to use and bounded by MaxTextLength. RFC 7143 6.1 (Text Format), 6.2 (Text Mode Negotiation).
type TextAccumulator struct {
	// Limit is the bound in bytes; 0 means MaxTextLength.
	Limit int

	buf      []byte
	segments int
}

// Add takes the data segment of one PDU and its C bit. With more set it keeps a copy and returns nil: the PDU is to be
// answered with an empty one. Without, it returns the whole segment, which is valid until the next Add and may be data
// itself, and starts anew. CodeText: the segment grows beyond Limit, has too many parts, or a part is empty.
func (a *TextAccumulator) Add(data []byte, more bool) (segment []byte, err error) {
	limit := a.Limit
	if limit == 0 {
		limit = MaxTextLength
	}
	if len(data) > limit-len(a.buf) {
		a.Reset()
		return nil, fault(CodeText, "text is too long")
	}
	if more {
		a.segments++
		if len(data) == 0 || a.segments > maxSegments {
			a.Reset()
			return nil, fault(CodeText, "text is continued without end")
		}
		a.buf = append(a.buf, data...)
		return nil, nil
	}
	if a.segments == 0 {
		return data, nil
	}
	whole := append(a.buf, data...)
	a.buf, a.segments = whole[:0], 0
	return whole, nil
}

// Pending reports whether a part was taken and the rest is awaited.
func (a *TextAccumulator) Pending() bool { return a.segments > 0 }

// Reset drops what was taken.
func (a *TextAccumulator) Reset() { a.buf, a.segments = nil, 0 }
