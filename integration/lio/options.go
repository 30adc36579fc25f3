// SPDX-License-Identifier: Apache-2.0

package lio

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
)

// Options says what the target serves. The zero value has one portal, admits
// everybody without authentication, and has no LUN.
type Options struct {
	Name string // default iqn.2026-11.test:lio
	LUNs []LUN

	// Groups are target portal groups with tags 1, 2, ...; empty is one group
	// with one portal.
	Groups []PortalGroup

	// Access is who may change the groups' access states; 0 is both.
	Access AccessType

	// User and Secret ask initiators for CHAP; MutualUser and MutualSecret are
	// what the target answers with. Empty means none.
	User, Secret             string
	MutualUser, MutualSecret string

	// Initiators are the names that are admitted; empty admits all ("demo mode").
	Initiators []string

	// Attributes and Parameters are written to each portal group's attrib and
	// param directories, such as "default_cmdsn_depth" and "HeaderDigest".
	Attributes map[string]string
	Parameters map[string]string

	// Configure is shell text run after the configuration, before the target is
	// enabled, in the target's directory of configfs.
	Configure string
}

// LUN is one logical unit on a file in the guest's memory, or on a drive.
type LUN struct {
	SizeBytes int64

	// Drive is the option of QEMU's -drive for a disk of the guest that is the unit
	// instead, such as "file=nbd:unix:/run/nbd.sock,format=raw"; empty is the file.
	// A device that is slow is a LIO that is slow.
	Drive string

	BlockSize int // 0 is 512

	// Serial is the unit serial number, and the vendor's part of the NAA
	// identifier is made of its hexadecimal digits. Empty is made from the
	// target's name and the number of the LUN.
	Serial          string
	Vendor, Product string // empty is LIO's default

	WriteThrough bool // no write cache
	Thin         bool // UNMAP and WRITE SAME with UNMAP
}

// PortalGroup is a target portal group.
type PortalGroup struct {
	Portals int // 0 is 1

	// Addresses are the host's addresses of the portals; "127.0.0.1:0" (a free
	// port) stands for those that are left out.
	Addresses []string
}

const defaultName = "iqn.2026-11.test:lio"

// firstPort is the guest's port of the first portal; the next ones count up.
const firstPort = 3260

func (o *Options) setDefaults() error {
	if o.Name == "" {
		o.Name = defaultName
	}
	o.LUNs = slices.Clone(o.LUNs)
	for i := range o.LUNs {
		l := &o.LUNs[i]
		if l.SizeBytes <= 0 && l.Drive == "" {
			return fmt.Errorf("lio: LUN %d: size %d", i, l.SizeBytes)
		}
		if l.Serial == "" {
			sum := sha256.Sum256(fmt.Appendf(nil, "%s/%d", o.Name, i))
			l.Serial = hex.EncodeToString(sum[:13])
		}
	}
	o.Groups = slices.Clone(o.Groups)
	if len(o.Groups) == 0 {
		o.Groups = []PortalGroup{{}}
	}
	for i := range o.Groups {
		g := &o.Groups[i]
		g.Portals = max(g.Portals, len(g.Addresses), 1)
		g.Addresses = slices.Clone(g.Addresses)
		for len(g.Addresses) < g.Portals {
			g.Addresses = append(g.Addresses, "127.0.0.1:0")
		}
	}
	if (o.User == "") != (o.Secret == "") || (o.MutualUser == "") != (o.MutualSecret == "") {
		return errors.New("lio: CHAP needs a user and a secret")
	}
	return nil
}

// Where things are in the guest.
const (
	files  = "/sys/kernel/config/target/core/fileio_0"
	drives = "/sys/kernel/config/target/core/iblock_0"
	fabric = "/sys/kernel/config/target/iscsi"
	lunDir = "/lun"
)

// script configures the target through configfs
// (Documentation/target/tcm_mod_builder.rst and the attributes' own names).
func (o *Options) script() string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	set := func(file, value string) { line("echo -n %s >%s", quote(value), quote(file)) }

	line("set -e")
	line("mkdir -p %s && mount -t tmpfs -o size=100%% lun %s", lunDir, lunDir)
	for i, l := range o.LUNs {
		o.deviceScript(line, set, i, l)
	}
	line("mkdir -p %s && cd %s", quote(fabric+"/"+o.Name), quote(fabric+"/"+o.Name))
	guestPort := firstPort
	for i, g := range o.Groups {
		tpg := fmt.Sprintf("tpgt_%d", i+1)
		line("mkdir %s", tpg)
		for n := range o.LUNs {
			line("mkdir %s/lun/lun_%d && ln -s %s %s/lun/lun_%d/disk%d", tpg, n, o.unit(n), tpg, n, n)
			set(fmt.Sprintf("%s/lun/lun_%d/alua_tg_pt_gp", tpg, n), groupName(i))
		}
		for range g.Portals {
			line("mkdir %s/np/0.0.0.0:%d", tpg, guestPort)
			guestPort++
		}
		o.accessScript(line, set, tpg)
		for _, k := range slices.Sorted(maps.Keys(o.Attributes)) {
			set(tpg+"/attrib/"+k, o.Attributes[k])
		}
		for _, k := range slices.Sorted(maps.Keys(o.Parameters)) {
			set(tpg+"/param/"+k, o.Parameters[k])
		}
	}
	b.WriteString(o.Configure + "\n")
	for i := range o.Groups {
		set(fmt.Sprintf("tpgt_%d/enable", i+1), "1")
	}
	return b.String()
}

func (o *Options) deviceScript(line func(string, ...any), set func(file, value string), i int, l LUN) {
	dir := o.unit(i)
	file := fmt.Sprintf("%s/disk%d", lunDir, i)
	line("mkdir -p %s", dir)
	control := fmt.Sprintf("fd_dev_name=%s,fd_dev_size=%d", file, l.SizeBytes)
	switch {
	case l.Drive != "":
		control = "udev_path=/dev/vd" + string(rune('a'+o.drivesBefore(i)))
	case !l.WriteThrough:
		control += ",fd_buffered_io=1"
		fallthrough
	default:
		line("truncate -s %d %s", l.SizeBytes, file)
	}
	set(dir+"/control", control)
	set(dir+"/enable", "1")
	set(dir+"/wwn/vpd_unit_serial", l.Serial)
	if l.Vendor != "" {
		set(dir+"/wwn/vendor_id", l.Vendor)
	}
	if l.Product != "" {
		set(dir+"/wwn/product_id", l.Product)
	}
	if l.BlockSize != 0 {
		set(dir+"/attrib/block_size", fmt.Sprint(l.BlockSize))
	}
	if l.Thin {
		set(dir+"/attrib/emulate_tpu", "1")
		set(dir+"/attrib/emulate_tpws", "1")
	}
	for g := range o.Groups {
		alua := dir + "/alua/" + groupName(g)
		if g > 0 { // the default group is there already
			line("mkdir %s", alua)
			set(alua+"/tg_pt_gp_id", fmt.Sprint(g))
		}
		if o.Access != 0 {
			set(alua+"/alua_access_type", fmt.Sprint(int(o.Access)))
		}
		if len(o.Groups) > 1 {
			// Each command to a group that is not optimized waits 100 ms else.
			set(alua+"/nonop_delay_msecs", "0")
		}
	}
}

// unit is the directory of a LUN's device.
func (o *Options) unit(i int) string {
	if o.LUNs[i].Drive != "" {
		return fmt.Sprintf("%s/disk%d", drives, i)
	}
	return fmt.Sprintf("%s/disk%d", files, i)
}

// drivesBefore counts the LUNs on drives before that one: the guest names its disks in
// that order.
func (o *Options) drivesBefore(i int) (n int) {
	for _, l := range o.LUNs[:i] {
		if l.Drive != "" {
			n++
		}
	}
	return n
}

// groupName is the ALUA group of portal group i: LIO makes the first itself,
// with id 0.
func groupName(i int) string {
	if i == 0 {
		return "default_tg_pt_gp"
	}
	return fmt.Sprintf("group%d", i)
}

func (o *Options) accessScript(line func(string, ...any), set func(file, value string), tpg string) {
	set(tpg+"/attrib/authentication", map[bool]string{true: "1", false: "0"}[o.User != ""])
	if len(o.Initiators) == 0 {
		set(tpg+"/attrib/demo_mode_write_protect", "0")
		set(tpg+"/attrib/generate_node_acls", "1")
		set(tpg+"/attrib/cache_dynamic_acls", "1")
		o.chapScript(set, tpg+"/auth")
		return
	}
	set(tpg+"/attrib/generate_node_acls", "0")
	for _, name := range o.Initiators {
		acl := tpg + "/acls/" + name
		line("mkdir %s", quote(acl))
		for n := range o.LUNs {
			line("mkdir %s/lun_%d && ln -s %s/lun/lun_%d %s/lun_%d/lun", quote(acl), n, tpg, n, quote(acl), n)
		}
		o.chapScript(set, acl+"/auth")
	}
}

func (o *Options) chapScript(set func(file, value string), dir string) {
	if o.User != "" {
		set(dir+"/userid", o.User)
		set(dir+"/password", o.Secret)
	}
	if o.MutualUser != "" {
		set(dir+"/userid_mutual", o.MutualUser)
		set(dir+"/password_mutual", o.MutualSecret)
	}
}

// quote makes one word of s for the shell.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// url is what libiscsi and QEMU take for a LUN behind portal.
func (o *Options) url(portal string, lun int) string {
	u := url.URL{Scheme: "iscsi", Host: portal, Path: fmt.Sprintf("/%s/%d", o.Name, lun)}
	s := u.String()
	if o.User != "" {
		// libiscsi's own form, not a URL's: user%secret@
		s = strings.Replace(s, "://", "://"+o.User+"%"+o.Secret+"@", 1)
	}
	return s
}
