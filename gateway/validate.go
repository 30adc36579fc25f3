// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"bytes"
	"fmt"
	"math"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"

	wire "pathgate/internal/iscsi"
)

// validator checks what concerns more than one value.
type validator struct {
	c      *Config
	src    *source
	faults []Fault
}

func (v *validator) fault(key, msg, rule string) {
	v.faults = append(v.faults, v.src.fault(key, msg, rule))
}

func (v *validator) config(files bool) {
	v.adapters()
	v.targets()
	v.claimRules()
	v.lunRules()
	v.groups()
	v.vms()
	v.oneGroup()
	v.listeners()
	v.timeouts()
	v.extents()
	v.filesOnce()
	if files {
		v.secrets()
		v.growingFiles(os.Stat)
	}
}

// unique notes the second of two equal names. Empty names were reported already.
func (v *validator) unique(seen map[string]string, name, key, what string) {
	if name == "" {
		return
	}
	if first, dup := seen[name]; dup {
		v.fault(key, "is used twice", what+", first at "+first)
		return
	}
	seen[name] = key
}

func (v *validator) adapters() {
	seen := make(map[string]string)
	for i, a := range v.c.Adapters {
		v.unique(seen, a.Name, fmt.Sprintf("adapters[%d].name", i), "adapter names are unique")
	}
	if len(v.c.Adapters) == 0 && len(v.c.Targets) > 0 && !v.has("adapters") {
		v.fault("adapters", "is missing", "targets are reached through at least one adapter")
	}
}

func (v *validator) has(key string) bool {
	_, ok := v.src.place[key]
	return ok
}

func (v *validator) targets() {
	type use struct{ name, key string }
	portals := make(map[Portal][]use)
	for i, t := range v.c.Targets {
		key := fmt.Sprintf("targets[%d]", i)
		seen := make(map[string]string)
		for j, name := range t.Adapters {
			at := fmt.Sprintf("%s.adapters[%d]", key, j)
			if !v.has(at) {
				break // by default: all of them
			}
			v.unique(seen, name, at, "an adapter is listed once")
			known := slices.ContainsFunc(v.c.Adapters, func(a AdapterConfig) bool { return a.Name == name })
			if name != "" && !known {
				v.fault(at, "is not an adapter", "a name from adapters")
			}
		}
		for j, p := range t.Portals {
			at := fmt.Sprintf("%s.portals[%d]", key, j)
			for _, u := range portals[p] {
				if p.Host != "" && (u.name == t.Name || u.name == "" || t.Name == "") {
					v.fault(at, "is listed twice", "first at "+u.key)
					break
				}
			}
			portals[p] = append(portals[p], use{t.Name, at})
		}
		if t.Discover && len(t.AllowedNetworks) == 0 && !v.has(key+".allowed-networks") {
			v.fault(key+".discover", "needs allowed-networks", "advertised portals are used only inside them")
		}
		if c := t.CHAP; c != nil && c.Secret.File != "" && c.Secret == c.MutualSecret {
			v.fault(key+".chap.mutual-secret-file", "is the file of the other direction", "a secret of its own for each direction, RFC 7143 9.2.1")
		}
	}
}

func (v *validator) lunRules() {
	seen, aliases := make(map[string]string), make(map[string]string)
	all := ""
	for i, r := range v.c.LUNs {
		key := fmt.Sprintf("luns[%d].id", i)
		v.alias(aliases, r, fmt.Sprintf("luns[%d].alias", i))
		v.unique(seen, r.ID, key, "one rule for an id")
		if all != "" && r.ID != "*" && r.ID != "" {
			v.fault(key, "is never used", "the first rule that matches wins, and "+all+" matches all")
		}
		if r.ID == "*" && all == "" {
			all = key
		}
		v.scheduler(r, fmt.Sprintf("luns[%d].scheduler", i))
	}
}

// alias checks that an alias stands for one device.
func (v *validator) alias(seen map[string]string, r LUNRule, key string) {
	if r.Alias == "" {
		return
	}
	v.unique(seen, r.Alias, key, "an alias stands for one device")
	if strings.HasSuffix(r.ID, "*") || strings.HasPrefix(r.ID, fileDevicePrefix) {
		v.fault(key, "is that of "+strconv.Quote(r.ID), "only a rule for one LUN has an alias")
	}
}

func (v *validator) vms() {
	names := make(map[string]string)
	for i, vm := range v.c.VMs {
		key := fmt.Sprintf("vms[%d]", i)
		v.unique(names, vm.Name, key+".name", "VM names are unique")
		disks := make(map[string]string)
		for j, d := range vm.Disks {
			at := fmt.Sprintf("%s.disks[%d]", key, j)
			v.unique(disks, d.Name, at+".name", "disk names are unique in a VM")
			v.diskExtents(d, at)
			v.diskShare(d, at)
			v.diskResize(&d, at)
		}
	}
}

// diskExtents checks what one disk says about LUNs.
func (v *validator) diskExtents(d DiskConfig, key string) {
	var total Size
	for k, e := range d.Extents {
		at := extentKey(v.src, key, k)
		if len(v.c.Targets) == 0 && !v.has("targets") && e.LUN != "" {
			v.fault(at+".lun", "has no target to come from", "targets lists at least one")
		}
		if e.Size == 0 && k < len(d.Extents)-1 && !v.has(at+".size") {
			v.fault(at, "has no size", "only the last extent may go to the end of its LUN")
		}
		if e.Offset > MaxSize-e.Size {
			v.fault(at+".size", "ends beyond 2^63-1", "offset + size less than 2^63")
			continue
		}
		if total > MaxSize-e.Size {
			v.fault(at+".size", "makes the disk larger than 2^63-1", "a sum less than 2^63")
			continue
		}
		total += e.Size
	}
}

// extentKey is where extent k of the disk at key was written: a disk with `lun:` is
// its own extent.
func extentKey(src *source, key string, k int) string {
	if _, short := src.place[key+".lun"]; short {
		return key
	}
	return fmt.Sprintf("%s.extents[%d]", key, k)
}

func (v *validator) listeners() {
	seen := map[string]string{v.c.Control.String(): "control"}
	v.nbd(seen)
	v.iscsi(seen)
	v.clientLimits()
}

// isLocal tells whether clients of other hosts cannot come there. Of sockets that are
// passed that is seen when they are there.
func isLocal(l ListenAddr) bool {
	if l.Network == "unix" || l.Network == systemdNetwork {
		return true
	}
	ap, err := netip.ParseAddrPort(l.Address)
	return err == nil && ap.Addr().IsLoopback()
}

func (v *validator) timeouts() {
	t := &v.c.Timeouts
	if t.Request < t.Command {
		v.fault(v.either("timeouts.request", "timeouts.command"), "does not fit",
			fmt.Sprintf("request (%v) at least command (%v)", t.Request, t.Command))
	}
	if t.CheckerMax < t.Checker {
		v.fault(v.either("timeouts.checker-max", "timeouts.checker"), "does not fit",
			fmt.Sprintf("checker-max (%v) at least checker (%v)", t.CheckerMax, t.Checker))
	}
	if t.FenceLogin > t.Login {
		v.fault(v.either("timeouts.fence-login", "timeouts.login"), "does not fit",
			fmt.Sprintf("fence-login (%v) at most login (%v)", t.FenceLogin, t.Login))
	}
}

// either gives the first key that the file has.
func (v *validator) either(a, b string) string {
	if v.has(a) {
		return a
	}
	return b
}

// extents finds overlaps by configured name. CheckExtents finds the rest when names
// are resolved.
func (v *validator) extents() {
	v.faults = append(v.faults, overlaps(v.src, v.c.ranges(func(lun string) (string, Size, bool) {
		return lun, math.MaxInt64, true
	}))...)
}

func (v *validator) filesOnce() {
	type use struct {
		key      string
		readOnly bool
	}
	seen := make(map[string]use)
	for i, vm := range v.c.VMs {
		for j, d := range vm.Disks {
			key := fmt.Sprintf("vms[%d].disks[%d].file", i, j)
			if d.File == "" {
				continue
			}
			first, dup := seen[d.File]
			if dup && !(first.readOnly && d.ReadOnly) {
				v.fault(key, "is used twice", "one disk for a file, unless both are read-only; first at "+first.key)
				continue
			}
			seen[d.File] = use{key, d.ReadOnly}
		}
	}
}

// secrets checks secret files, and that what they hold can be used for CHAP.
func (v *validator) secrets() {
	for i, t := range v.c.Targets {
		if t.CHAP != nil {
			key := fmt.Sprintf("targets[%d].chap.", i)
			v.secretPair(key+"secret-file", t.CHAP.Secret, key+"mutual-secret-file", t.CHAP.MutualSecret)
		}
	}
	v.iscsiSecrets()
	v.nbdFiles()
}

// secretPair checks the secrets of both directions; mutual may be none.
func (v *validator) secretPair(key string, s Secret, mutualKey string, mutual Secret) {
	first, second := v.secret(key, s), v.secret(mutualKey, mutual)
	if len(first) > 0 && s != mutual && bytes.Equal(first, second) {
		v.fault(mutualKey, "holds the secret of the other direction", "a secret of its own for each direction, RFC 7143 9.2.1")
	}
}

// secret reads a secret; nil: there is none, or one that cannot be used.
func (v *validator) secret(key string, s Secret) []byte {
	if s.File == "" {
		return nil
	}
	b, err := s.Read()
	if err != nil {
		why := strings.TrimPrefix(strings.TrimPrefix(err.Error(), "secret file "+s.File+": "), "secret file: ")
		v.fault(key, "cannot be used: "+why, "a regular file, mode 0600 or tighter, owned by the user that runs the gateway")
		return nil
	}
	if n := len(b); n < wire.MinSecretLength || n > wire.MaxValueLength {
		v.fault(key, fmt.Sprintf("holds a secret of %d bytes", n),
			fmt.Sprintf("%d to %d bytes, not counting a newline at the end", wire.MinSecretLength, wire.MaxValueLength))
		return nil
	}
	return b
}
