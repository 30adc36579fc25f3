// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"pathgate/gateway/control"
	"pathgate/gateway/nbd"
)

// Attachment tells how a VM's disks are reached over both front-ends.
func (s *adminView) Attachment(vm string) (control.Attachment, error) {
	out := control.Attachment{VM: vm}
	for _, d := range s.disks {
		if d.VM() != vm {
			continue
		}
		if out.NBD == nil {
			s.attachNBD(d.vm, &out)
		}
		disk := control.AttachDisk{Name: d.cfg.Name, Export: d.FullName(), ReadOnly: d.cfg.ReadOnly, Why: d.whyNot()}
		if d.lun != nil {
			disk.LUN = uint16(d.lun.lun)
			out.ISCSI = s.attachTarget(d.lun.target)
		}
		out.Disks = append(out.Disks, disk)
	}
	if out.Disks == nil {
		return out, control.ErrNotFound
	}
	return out, nil
}

// attachNBD tells the NBD listeners at which vm can be seen.
func (s *adminView) attachNBD(vm *VMConfig, out *control.Attachment) {
	at := s.nbdAt
	for i := range s.cfg.NBD.Listen {
		if l := &s.cfg.NBD.Listen[i]; s.nbdAt == nil {
			at = append(at, reachable{l.String(), l}) // before Run
		}
	}
	wanted := false
	for _, r := range at {
		named := len(vm.NBD.Certificates) > 0
		if named && r.l.ClientCA == "" {
			continue
		}
		t := control.AttachTLS{Required: named || r.l.TLS == nbd.TLSRequired}
		t.Certificate = t.Required && r.l.ClientCA != ""
		wanted = wanted || t.Required
		out.NBD, out.TLS = append(out.NBD, r.at), append(out.TLS, t)
	}
	if !wanted {
		out.TLS = nil
	}
}

func (s *adminView) attachTarget(t *vmTarget) *control.AttachTarget {
	a := &control.AttachTarget{Name: t.target.Name(), Initiators: t.vm.ISCSI.Names, Digests: s.cfg.ISCSI.Digests.String()}
	for _, l := range s.cfg.ISCSI.Listen {
		if len(l.Advertise) == 0 {
			a.Portals = append(a.Portals, l.String())
		}
		for _, p := range l.Advertise {
			a.Portals = append(a.Portals, p.String())
		}
	}
	if c := t.vm.ISCSI.CHAP; c != nil {
		a.User, a.MutualUser = c.User, c.MutualUser
	}
	return a
}

var _ control.AttachSource = adminSource{}
