// SPDX-License-Identifier: Apache-2.0

package multipath

import (
	"slices"
	"testing"
	"time"

	"pathgate/backends"
	"pathgate/internal/scsi"
)

// fakeALUA is a LUN's target port groups, with what LIO does: in standby it lets
// READ CAPACITY and reservations pass, in the states below only INQUIRY, REPORT
// LUNS and the port groups; each change is a unit attention for every nexus; SET
// TARGET PORT GROUPS changes the groups that it names and no other. Guarded by
// fakeNet.mu.
type fakeALUA struct {
	tpgs       uint8
	groups     []scsi.PortGroup
	of         map[string]uint16 // group by portal
	transition time.Duration     // as reported
	noExtended bool
	mute       bool          // changes raise no unit attention
	setTakes   time.Duration // STPG: so long in transition, then it is done
	setFails   func() *backends.Result

	asks, sets int
	data       map[uint16]int // data commands served, by group
}

func (a *fakeALUA) group(n *fakeNexus) *scsi.PortGroup {
	p, _ := n.way()
	return a.byID(a.of[p.name])
}

func (a *fakeALUA) byID(id uint16) *scsi.PortGroup {
	return &a.groups[slices.IndexFunc(a.groups, func(g scsi.PortGroup) bool { return g.ID == id })]
}

// refusal is what a command gets that the state does not allow.
func refusal(s scsi.AccessState) (backends.Result, bool) {
	switch s {
	case scsi.Standby:
		return sense(2, 4, 0x0b), false
	case scsi.Unavailable, scsi.Offline:
		return sense(2, 4, 0x0c), false
	case scsi.Transitioning:
		return sense(2, 4, 0x0a), false
	case scsi.ActiveOptimized, scsi.ActiveNonOptimized, scsi.LBADependent:
	}
	return backends.Result{}, true
}

// refuses judges a data command.
func (a *fakeALUA) refuses(n *fakeNexus) (backends.Result, bool) {
	if a == nil {
		return backends.Result{}, true
	}
	g := a.group(n)
	res, ok := refusal(g.State)
	if ok {
		a.data[g.ID]++
	}
	return res, ok
}

// admits judges a command of the scan.
func (a *fakeALUA) admits(n *fakeNexus, op scsi.Opcode) (backends.Result, bool) {
	if a == nil {
		return backends.Result{}, true
	}
	s := a.group(n).State
	if s == scsi.Standby && op != scsi.OpRead10 {
		return backends.Result{}, true
	}
	return refusal(s)
}

// exec answers what ALUA adds; false: nothing.
func (a *fakeALUA) exec(l *fakeLUN, n *fakeNexus, c *backends.Command, end func(backends.Result, []byte)) bool {
	cdb := scsi.CDB(c.CDB)
	ok := func(data []byte) bool {
		end(backends.Done(), data[:min(len(data), c.MaxIn)])
		return true
	}
	switch cdb.Opcode() {
	case scsi.OpInquiry:
		q, _ := scsi.DecodeInquiry(&c.CDB)
		switch {
		case !q.VPD:
			return ok(scsi.StandardInquiry{Version: 6, Vendor: "FAKE", Product: l.product, Revision: "1", PortGroupAccess: a.tpgs}.Append(nil))
		case q.Page == scsi.PageIdentification:
			g := a.group(n)
			p, _ := n.way()
			return ok(scsi.AppendDesignators(nil, 0, []scsi.Designator{
				l.id, scsi.PortDesignator(scsi.DesignatorRelativePort, a.port(p.name)), scsi.PortDesignator(scsi.DesignatorPortGroup, g.ID),
			}))
		}
	case scsi.OpMaintenanceIn:
		q, err := scsi.DecodeReportPortGroups(&c.CDB)
		if err != nil || q.Extended && a.noExtended {
			end(sense(5, 0x24, 0), nil)
			return true
		}
		a.asks++
		return ok(scsi.AppendPortGroups(nil, a.groups, q.Extended, a.transition))
	case scsi.OpMaintenanceOut:
		a.set(l, c, end)
		return true
	default:
	}
	return false
}

// port numbers the portals.
func (a *fakeALUA) port(portal string) uint16 {
	for _, g := range a.groups {
		for _, p := range g.Ports {
			if portals(int(p))[p-1] == portal {
				return p
			}
		}
	}
	return 0
}

// set is SET TARGET PORT GROUPS.
func (a *fakeALUA) set(l *fakeLUN, c *backends.Command, end func(backends.Result, []byte)) {
	a.sets++
	list, err := scsi.DecodeSetPortGroupList(c.Out.Bytes())
	switch {
	case a.tpgs&scsi.ALUAExplicit == 0 || err != nil:
		end(sense(5, 0x24, 0), nil)
		return
	case a.setFails != nil:
		if res := a.setFails(); res != nil {
			end(*res, nil)
			return
		}
	}
	finish := func() {
		for _, s := range list {
			a.change(l, s.ID, s.State)
			a.byID(s.ID).Status = scsi.StatusBySetPortGroups
		}
	}
	if a.setTakes == 0 {
		finish()
	} else {
		for _, s := range list {
			a.change(l, s.ID, scsi.Transitioning)
		}
		time.AfterFunc(a.setTakes, func() {
			l.srv.net.mu.Lock()
			defer l.srv.net.mu.Unlock()
			finish()
		})
	}
	end(backends.Done(), nil)
}

// change sets a state, and tells every nexus.
func (a *fakeALUA) change(l *fakeLUN, id uint16, s scsi.AccessState) {
	a.byID(id).State = s
	a.byID(id).Status = scsi.StatusByImplicitChange
	if a.mute {
		return
	}
	for _, c := range l.srv.conns {
		l.attn[c.port] = backends.Sense{Valid: true, Key: 6, ASC: 0x2a, ASCQ: 6}
	}
}

// aluaBed is a LUN of two groups, of one portal each, over two adapters: group
// 1 with the paths of 10.0.0.1 is optimized, group 2 with those of 10.0.0.2 in
// state other.
func aluaBed(t *testing.T, tpgs uint8, other scsi.AccessState, change func(*Config)) (*bed, *fakeLUN, *fakeALUA) {
	t.Helper()
	bd := newBed(t)
	s := bd.net.server(iqn, portals(2)...)
	l := s.addLUN(1, newMedium(), naa(1))
	l.alua = &fakeALUA{
		tpgs: tpgs, data: map[uint16]int{}, of: map[string]uint16{"10.0.0.1:3260": 1, "10.0.0.2:3260": 2},
		groups: []scsi.PortGroup{
			{ID: 1, State: scsi.ActiveOptimized, Supported: 0x9f, Ports: []uint16{1}},
			{ID: 2, State: other, Supported: 0x9f, Ports: []uint16{2}},
		},
	}
	bd.start(change)
	return bd, l, l.alua
}

// state sets a group's state at the target.
func (bd *bed) state(l *fakeLUN, id uint16, s scsi.AccessState) {
	bd.net.with(func() { l.alua.change(l, id, s) })
}

// groupsUsed lists the groups that requests go to now.
func (bd *bed) groupsUsed() (list []uint16) {
	for _, g := range bd.device().State().Groups {
		if g.Used {
			list = append(list, g.ID)
		}
	}
	return list
}

// wantGroups checks that.
func (bd *bed) wantGroups(when string, want ...uint16) {
	bd.t.Helper()
	if got := bd.groupsUsed(); !slices.Equal(got, want) {
		bd.t.Errorf("%s: groups %v are used, want %v; %+v; paths %+v", when, got, want, bd.device().State().Groups, bd.m.Paths())
	}
}
