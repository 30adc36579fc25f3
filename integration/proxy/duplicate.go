// SPDX-License-Identifier: Apache-2.0

package proxy

import "slices"

// maxRecorded bounds the bytes that all records of a proxy may hold.
const maxRecorded = 64 << 20

// record is a piece of one connection that later connections get again.
type record struct {
	conn int
	dir  Direction
	data []byte
}

// duplicate returns what must be sent after the span that was just forwarded:
// the same bytes again, or records of earlier connections.
func (u *pump) duplicate(st *state, s span, b []byte) (again [][]byte) {
	iscsi := u.framer.protocol == ISCSI
	if iscsi && (s.pdu.Opcode == Login || s.pdu.Opcode == LoginResponse || !u.conn.session.full.Load()) {
		return nil
	}
	border := s.off+s.len == s.pdu.Len() || !iscsi
	for _, f := range st.faults {
		if f.Kind != Duplicate || f.Dir != Both && f.Dir != u.dir {
			continue
		}
		if border {
			again = append(again, u.replay()...)
		}
		if !s.whole || !f.on(u.conn.id, u.dir) {
			continue
		}
		if f.At != nil {
			if _, ok := f.fires(s.pdu); !ok {
				continue
			}
		}
		if f.SameConn {
			again = append(again, slices.Clone(b))
			u.effect(Duplicate).hit(len(b))
			continue
		}
		u.conn.proxy.keep(record{u.conn.id, u.dir, slices.Clone(b)})
	}
	return again
}

func (p *Proxy) keep(r record) {
	p.mu.Lock()
	defer p.mu.Unlock()
	total := len(r.data)
	for _, o := range p.records {
		total += len(o.data)
	}
	if total <= maxRecorded {
		p.records = append(p.records, r)
	}
}

// replay returns the records of earlier connections that this one lacks.
func (u *pump) replay() (out [][]byte) {
	p := u.conn.proxy
	p.mu.Lock()
	defer p.mu.Unlock()
	for ; u.played < len(p.records); u.played++ {
		if r := p.records[u.played]; r.conn < u.conn.id && r.dir == u.dir {
			out = append(out, r.data)
			u.effect(Duplicate).hit(len(r.data))
		}
	}
	return out
}
