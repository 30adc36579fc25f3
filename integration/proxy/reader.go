// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"slices"
	"time"
)

// readLoop reads the source until it ends. What may go on is in buf from 0; an
// incomplete header (with some faults an incomplete PDU) stays for the next read.
func (u *pump) readLoop() {
	buf, have := make([]byte, readSize), 0
	for {
		n, err := u.src.Read(buf[have:])
		have += n
		u.flow().read.add(n)
		if n > 0 {
			used, need := u.take(buf[:have])
			have = copy(buf, buf[used:have])
			if need > len(buf) {
				buf = append(buf[:have], make([]byte, need-have)...)
			}
		}
		if err != nil {
			if have > 0 {
				u.emit(buf[:have])
			}
			u.enqueue(item{end: true, reset: isReset(err), at: time.Now()})
			return
		}
	}
}

// take forwards the PDUs and parts of PDUs in b and returns how many bytes it
// used, and how many there must be for the rest to be usable.
func (u *pump) take(b []byte) (used, need int) {
	st := u.conn.proxy.state.Load()
	whole := u.framer.protocol == ISCSI && st.whole(u.conn.id, u.dir)
	sent := 0 // b[sent:used] is not yet emitted
	for {
		s, n, ok := u.framer.next(b[used:], whole)
		if !ok {
			u.emit(b[sent:used])
			return used, n
		}
		part := b[used : used+s.len]
		u.tally(s)
		if len(st.faults) > 0 {
			u.corrupt(st, s, part)
			for _, cut := range u.triggers(st, s) {
				u.emit(b[sent : used+cut.offset])
				u.enqueue(item{fault: cut.fault})
				sent = used + cut.offset
			}
		}
		used += s.len
		if len(st.faults) > 0 {
			for _, again := range u.duplicate(st, s, part) {
				u.emit(b[sent:used])
				u.emit(again)
				sent = used
			}
		}
	}
}

func (u *pump) tally(s span) {
	if u.framer.protocol == Raw {
		return
	}
	f := u.flow()
	if s.first {
		f.pdus[s.pdu.Opcode&0x3f].add(1)
	}
	f.data.add(s.dataBytes())
}

// triggers returns the faults that begin inside the span, in the order of
// their offsets, which count from the start of the span.
func (u *pump) triggers(st *state, s span) []arrival {
	if s.first {
		u.current = u.current[:0]
	}
	for _, f := range st.faults {
		if f.At == nil || f.Kind == Corrupt || f.Kind == Duplicate || !f.on(u.conn.id, u.dir) {
			continue
		}
		if f.At.Bytes > 0 {
			start, known := u.begun[f]
			if !known {
				start = u.passed
				u.begun[f] = start
			}
			if at := start + f.At.Bytes; at > u.passed && at <= u.passed+int64(s.len) {
				u.current = append(u.current, arrival{f, s.off + int(at-u.passed)})
			}
		} else if s.first {
			if off, ok := f.fires(s.pdu); ok {
				u.current = append(u.current, arrival{f, min(off, s.pdu.Len())})
			}
		}
	}
	u.passed += int64(s.len)
	if len(u.current) == 0 {
		return nil
	}
	var now []arrival
	last := u.framer.protocol == Raw || s.off+s.len == s.pdu.Len()
	u.current = slices.DeleteFunc(u.current, func(a arrival) bool {
		in := a.offset >= s.off && (a.offset < s.off+s.len || last)
		if in {
			now = append(now, arrival{a.fault, a.offset - s.off})
		}
		return in
	})
	slices.SortStableFunc(now, func(a, b arrival) int { return a.offset - b.offset })
	return now
}

// emit sends b on: directly when nothing stands in its way, else a copy of it
// through the queue.
func (u *pump) emit(b []byte) {
	if len(b) == 0 {
		return
	}
	if u.idle() && !u.conn.proxy.state.Load().slow(u.conn.id, u.dir) {
		u.write(b)
		return
	}
	u.enqueue(item{data: slices.Clone(b), at: time.Now()})
}
