// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"net"
	"slices"

	"pathgate/gateway/iscsi"
	wire "pathgate/internal/iscsi"
)

// portalTag is the portal group tag, and the target port, of the i-th listener.
func portalTag(i int) uint16 { return uint16(i + 1) }

// portal tells the server what the i-th listener is.
func (c *ISCSIConfig) portal(i int) iscsi.Portal {
	p := iscsi.Portal{GroupTag: portalTag(i)}
	for _, a := range c.Listen[i].Advertise {
		p.Advertise = append(p.Advertise, a.target())
	}
	return p
}

// target is p as initiators are told it.
func (p Portal) target() wire.TargetAddress { return wire.TargetAddress{Host: p.Host, Port: p.Port} }

// moved sends p, who asks for t, to where t is to be used. It is no secret: what
// has to be proved is proved there.
func (ts *targets) moved(t *vmTarget, p *iscsi.Peer) error {
	r := t.vm.ISCSI.Redirect
	if r == nil || ts.isAt(p, r.To) {
		return nil
	}
	return &iscsi.MovedError{To: r.To.target(), Permanent: r.Permanent}
}

// isAt tells whether p has come to the portal that clients know as to.
func (ts *targets) isAt(p *iscsi.Peer, to Portal) bool {
	if i := int(p.PortalGroupTag) - 1; i < len(ts.g.cfg.ISCSI.Listen) {
		l := ts.g.cfg.ISCSI.Listen[i]
		if l.String() == to.String() || slices.Contains(l.Advertise, to) {
			return true
		}
	}
	local, ok := p.Local.(*net.TCPAddr)
	if !ok {
		return false
	}
	a := local.AddrPort()
	return to == Portal{a.Addr().Unmap().WithZone("").String(), a.Port()}
}
