// SPDX-License-Identifier: Apache-2.0

package scripted

import (
	"net/netip"

	wire "pathgate/internal/iscsi"
)

// Advertise replaces what SendTargets answers: the text, pairs ended by a zero
// byte. It is called with the portal that was asked. Nil: this target with the
// addresses of all its portals.
func (tg *Target) Advertise(f func(portal int) []byte) {
	tg.mu.Lock()
	defer tg.mu.Unlock()
	tg.advertise = f
}

// Records is the text that SendTargets answers for targets of these names and
// portals.
func Records(list ...wire.TargetRecord) []byte { return wire.SendTargetsText(list).Append(nil) }

// Record is this target with those of its portals.
func (tg *Target) Record(portals ...int) wire.TargetRecord {
	r := wire.TargetRecord{Name: tg.name}
	for _, i := range portals {
		ap := netip.MustParseAddrPort(tg.Address(i))
		r.Addresses = append(r.Addresses, wire.TargetAddress{
			Host: ap.Addr().String(), Port: ap.Port(), PortalGroupTag: tg.portals[i].Tag, HasPortalGroupTag: true,
		})
	}
	return r
}

// text answers SendTargets, in as many PDUs as are needed.
func (c *conn) text(h *wire.BHS) {
	c.t.count(c.portal, func(s *Stats) { s.Discoveries++ })
	c.t.mu.Lock()
	f := c.t.advertise
	c.t.mu.Unlock()
	var rest []byte
	if f != nil {
		rest = f(c.portal)
	} else {
		all := make([]int, len(c.t.portals))
		for i := range all {
			all[i] = i
		}
		rest = Records(c.t.Record(all...))
	}
	for {
		n := min(len(rest), int(c.params.MaxSendDataSegmentLength))
		last := n == len(rest)
		p := wire.TextResponse{Final: last, Continue: !last, ITT: h.ITT(), TTT: wire.NoTag}
		if !last {
			p.TTT = 1
		}
		c.send(p, rest[:n], advance)
		if rest = rest[n:]; last {
			return
		}
		var next wire.BHS
		if _, err := readPDU(c.sock, c.recvF, &next); err != nil {
			return
		}
	}
}
