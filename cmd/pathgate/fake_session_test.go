// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"strings"

	"pathgate/gateway/control"
)

// Sessions implements control.SessionSource: one of each kind, of the VMs there are.
func (s *fakeState) Sessions() (list []control.Session) {
	for _, vm := range s.vms[:min(len(s.vms), 1)] {
		list = append(list, control.Session{
			Name: "iscsi 192.0.2.7:50312", Frontend: "iscsi", Local: "192.0.2.1:3260", Uses: "iqn.2026-11.example:" + vm.Name, VM: vm.Name,
			Initiator: "iqn.1994-05.example:" + vm.Name, User: "alice", ISID: "00023d000001", TSIH: 1,
			Outstanding: 3, Window: 128, Completed: 4711, PendingBytes: 65536,
			Keys: control.Attrs{{Key: "HeaderDigest", Value: "CRC32C"}, {Key: "MaxBurstLength", Value: "262144"}},
		}, control.Session{
			Name: "iscsi 192.0.2.7:50313", Frontend: "iscsi", Local: "192.0.2.1:3260",
			Initiator: "iqn.1994-05.example:" + vm.Name, ISID: "00023d000002", TSIH: 2, Window: 16,
		}, control.Session{
			Name: "nbd /run/pathgate/nbd.sock#3", Frontend: "nbd", Local: "/run/pathgate/nbd.sock", Uses: vm.Name + "/root", VM: vm.Name, Outstanding: 1,
		}, control.Session{
			Name: "nbd 192.0.2.9:40000", Frontend: "nbd", Local: "192.0.2.1:10809", Uses: vm.Name + "/data", VM: vm.Name,
			TLS: "TLS 1.3", Cipher: "TLS_AES_128_GCM_SHA256", Certificate: "host9.example",
		})
	}
	return list
}

// ReleaseDisk implements control.OwnerSource: vm1/root has a client.
func (s *fakeState) ReleaseDisk(disk string) ([]string, error) {
	switch disk {
	case "vm1/root":
	case "vm1/gone":
		return nil, control.ErrNotFound
	default:
		return nil, nil
	}
	return []string{"process 4711 (qemu-system-x86) of uid 64055 over NBD"}, nil
}

// ResizeDisk implements control.ResizeSource: vm1/root has 64 MiB, of at most 1 GiB.
func (s *fakeState) ResizeDisk(disk string, to control.Resize) (out control.Resized, err error) {
	switch {
	case disk != "vm1/root":
		return out, control.Conflict(errors.New("the disk has a fixed size: it is only read"))
	case to.Size%512 != 0:
		return out, control.Invalid(errors.New("not in whole blocks, of 512 bytes"))
	case to.Size > 1<<30 && !to.Thin:
		return out, control.Conflict(errors.New("not enough space in the file system"))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	out = control.Resized{Disk: disk, Size: to.Size}
	if to.Reconnect {
		out.Reconnected = 3
	}
	for i := range s.disks {
		if d := &s.disks[i]; d.Name == disk {
			out.From, d.Size = d.Size, to.Size
		}
	}
	return out, nil
}

// Attachment implements control.AttachSource. vm1 has both front-ends, at all addresses;
// vm2 has NBD alone, with TLS.
func (s *fakeState) Attachment(vm string) (control.Attachment, error) {
	a := control.Attachment{VM: vm, NBD: []string{"unix:/run/pathgate/nbd.sock", "[::]:10809"}}
	for i, d := range s.disks {
		if d.VM == vm {
			_, name, _ := strings.Cut(d.Name, "/")
			a.Disks = append(a.Disks, control.AttachDisk{Name: name, Export: d.Name, LUN: uint16(2 * i), ReadOnly: d.ReadOnly, Why: d.Why})
		}
	}
	switch {
	case len(a.Disks) == 0:
		return a, control.ErrNotFound
	case vm == "vm1":
		a.ISCSI = &control.AttachTarget{
			Name: "iqn.2026-11.internal.pathgate:vm1", Portals: []string{"0.0.0.0:3260", "192.0.2.1:3261"},
			User: "alice", MutualUser: "pathgate", Digests: "require", Initiators: []string{"iqn.1994-05.example:vm1"},
		}
	default:
		a.NBD = a.NBD[1:]
		a.TLS = []control.AttachTLS{{Required: true, Certificate: true}}
	}
	return a, nil
}
