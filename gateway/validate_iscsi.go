// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"fmt"
	"slices"
	"strconv"
)

// iscsi checks what concerns the iSCSI target.
func (v *validator) iscsi(seen map[string]string) {
	if v.has("iscsi") && !v.has("iscsi.listen") {
		v.fault("iscsi", "is not used", "iscsi has at least one address in listen")
	}
	told := map[string]string{}
	for i, l := range v.c.ISCSI.Listen {
		key := fmt.Sprintf("iscsi.listen[%d]", i)
		for j, p := range l.Advertise {
			if p != (Portal{}) {
				v.unique(told, p.String(), fmt.Sprintf("%s.advertise[%d]", key, j), "one listener that tells an address")
			}
		}
		if l.ListenAddr == (ListenAddr{}) {
			continue
		}
		v.unique(seen, l.String(), key, "one listener for an address")
		if !v.c.ISCSI.PlaintextRemote && !isLocal(l.ListenAddr) {
			v.fault(key, "is reachable from other hosts without encryption",
				"a loopback address, or plaintext-remote: true on a trusted network")
		}
	}
	names, users := map[string]string{}, map[string]Secret{}
	for i := range v.c.VMs {
		vm := &v.c.VMs[i]
		key := fmt.Sprintf("vms[%d]", i)
		if first, dup := names[v.c.ISCSI.TargetName(vm.Name)]; dup && first != vm.Name && vm.Name != "" {
			v.fault(key+".name", "is that of "+first+" in lower case", "iSCSI names of VMs are unique, and always in lower case")
		}
		names[v.c.ISCSI.TargetName(vm.Name)] = vm.Name
		v.initiators(&vm.ISCSI, key+".iscsi", users)
		v.lunIDs(vm, key)
	}
}

func (v *validator) initiators(c *VMISCSIConfig, key string, users map[string]Secret) {
	if v.has(key) && len(v.c.ISCSI.Listen) == 0 && !v.has("iscsi.listen") {
		v.fault(key, "is not used", "iscsi has at least one address in listen")
	}
	p := c.CHAP
	if p == nil || p.Secret.File == "" {
		return
	}
	if p.Secret == p.MutualSecret {
		v.fault(key+".chap.mutual.secret-file", "is the file of the other direction", "a secret of its own for each direction, RFC 7143 9.2.1")
	}
	first, known := users[p.User]
	switch {
	case p.User == "":
	case !known:
		users[p.User] = p.Secret
	case first != p.Secret:
		v.fault(key+".chap.secret-file", "is another one than for the same user before", "one secret for a user: "+first.File)
	}
}

// noFrontEnd warns of disks that nobody can reach.
func (c *Config) noFrontEnd() []Fault {
	if len(c.NBD.Listen) > 0 || len(c.ISCSI.Listen) > 0 || len(c.VMs) == 0 {
		return nil
	}
	f := c.src.fault("vms", "nobody can use the disks: neither nbd nor iscsi has an address in listen", "")
	f.Value = ""
	return []Fault{f}
}

// openTargets warns of VMs whose disks anyone can change who reaches a listener that
// is not on loopback.
func (c *Config) openTargets() (list []Fault) {
	if !slices.ContainsFunc(c.ISCSI.Listen, func(l ISCSIListener) bool { return !isLocal(l.ListenAddr) }) {
		return nil
	}
	for i := range c.VMs {
		vm := &c.VMs[i]
		if a := &vm.ISCSI; a.CHAP == nil && len(a.Networks) == 0 && len(a.Names) == 0 {
			f := c.src.fault(fmt.Sprintf("vms[%d].name", i), "every initiator can use the disks of "+vm.Name+": iscsi has neither initiators nor chap", "")
			f.Value = ""
			list = append(list, f)
		}
	}
	return list
}

// lunIDs checks that no two disks want one number.
func (v *validator) lunIDs(vm *VMConfig, key string) {
	seen := map[string]string{}
	for j := range vm.Disks {
		if n := vm.Disks[j].LUNID; n != nil {
			v.unique(seen, strconv.Itoa(int(*n)), fmt.Sprintf("%s.disks[%d].lun-id", key, j), "one disk for a number")
		}
	}
}

// iscsiSecrets checks the secret files of VMs.
func (v *validator) iscsiSecrets() {
	for i := range v.c.VMs {
		if p := v.c.VMs[i].ISCSI.CHAP; p != nil {
			key := fmt.Sprintf("vms[%d].iscsi.chap.", i)
			v.secretPair(key+"secret-file", p.Secret, key+"mutual.secret-file", p.MutualSecret)
		}
	}
}
