// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"fmt"
	"strings"
	"sync"

	"pathgate/backends"
	"pathgate/gateway/iscsi"
	"pathgate/gateway/scsi"
	spc "pathgate/internal/scsi"
)

// sessionUses are the uses that one iSCSI session makes of the disks of its target. A
// disk is claimed by the first command that reads, changes or reserves it: a session
// reaches all disks of its VM, and is to own none that it only looks at.
type sessionUses struct {
	ts     *targets
	t      *vmTarget
	client clientID
	name   string // of the connection, for people

	mu   sync.Mutex
	uses map[*servedDisk]*use
	over bool
}

// iscsiOwner tells who p is: the user that it has proved to be, or else the name that
// it goes by. Sessions of one client share its disks: a client with several paths has
// one for each.
func iscsiOwner(p *iscsi.Peer) clientID {
	if p.User != "" {
		return clientID{"iscsi user " + p.User, "CHAP user " + p.User}
	}
	name := strings.ToLower(p.Initiator)
	return clientID{"iscsi name " + name, "initiator " + name}
}

// newUses makes the uses of a session, none so far. A target whose disks all belong to
// somebody else is an error: the initiator is told so at the login, and may try again.
func (ts *targets) newUses(t *vmTarget, p *iscsi.Peer) (*sessionUses, error) {
	s := &sessionUses{ts: ts, t: t, client: iscsiOwner(p), name: p.Connection, uses: map[*servedDisk]*use{}}
	var blocked *servedDisk
	var why verdict
	for _, d := range t.disks {
		if d.unit.Load() == nil {
			continue
		}
		v, ok := d.own.open(s.client)
		if ok {
			return s, nil
		}
		blocked, why = d, v
	}
	if blocked == nil {
		return s, nil
	}
	o := blocked.own
	ts.g.bus.Publish(o.event(KindDiskOwnedElsewhere, &use{client: s.client, session: s.name}, o.refusal(why)))
	return nil, fmt.Errorf("%w: disk %s is %s", iscsi.ErrUnavailable, blocked.FullName(), o.refusal(why))
}

// Claim asks the disk at lun for its use by n. The unit's lock is held.
func (s *sessionUses) Claim(n *scsi.Nexus, lun spc.LUN) scsi.ClaimResult {
	d := s.t.disk(lun)
	if d == nil {
		return scsi.ClaimRefused // it is being taken away
	}
	s.mu.Lock()
	u := s.uses[d]
	if s.over {
		s.mu.Unlock()
		return scsi.ClaimRefused
	}
	if u == nil {
		u = &use{client: s.client, session: s.name}
		u.cut = func() { s.revoke(n, d, u) }
		s.uses[d] = u
	}
	s.mu.Unlock()
	v, _ := d.own.claim(u)
	for _, x := range v.cut {
		s.ts.saves.do(x.cut) // not under the unit's lock
	}
	switch v.kind {
	case granted:
		return scsi.ClaimGranted
	case waits:
		return scsi.ClaimBusy
	case refused:
	}
	return scsi.ClaimRefused
}

// revoke takes the use u of d from n; its next one is another claim.
func (s *sessionUses) revoke(n *scsi.Nexus, d *servedDisk, u *use) {
	var b backends.Batch
	n.Revoke(&b, d.lun.lun, func(*backends.Batch, backends.Result) { s.forget(d, u) })
	b.Run()
}

// forget ends u: no task of it is left.
func (s *sessionUses) forget(d *servedDisk, u *use) {
	s.mu.Lock()
	if s.uses[d] == u {
		delete(s.uses, d)
	}
	s.mu.Unlock()
	d.own.end(u)
}

// lost notes that the session is over; its tasks are being ended.
func (s *sessionUses) lost() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = true
	for d, u := range s.uses {
		d.own.leave(u)
	}
}

// close ends all uses: no task is left.
func (s *sessionUses) close() {
	s.mu.Lock()
	s.over = true
	uses := s.uses
	s.uses = nil
	s.mu.Unlock()
	for d, u := range uses {
		d.own.end(u)
	}
}

// disk gives the disk at lun, or nil.
func (t *vmTarget) disk(lun spc.LUN) *servedDisk {
	for _, d := range t.disks {
		if d.lun != nil && d.lun.lun == lun {
			return d
		}
	}
	return nil
}
