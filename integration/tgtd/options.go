// SPDX-License-Identifier: Apache-2.0

package tgtd

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Options says what one tgtd process serves. The zero value has one portal and
// no target.
type Options struct {
	// Portals are "ip:port" on loopback; port 0 takes a free one. Empty means
	// one portal on 127.0.0.1.
	Portals []string
	Targets []Target

	Threads int // I/O threads for each LUN; 0 is tgtd's default, 16

	// Dir is where the control socket, the log and LUN files without a name go.
	// Empty makes one in /dev/shm (or the temporary directory) that Close removes.
	Dir string

	// Prefix are words in front of the program and its arguments, such as those of
	// nsenter, which become the process. Empty means none.
	Prefix  []string
	Program string // default tgtd
	Admin   string // default tgtadm
}

// Target is one iSCSI target.
type Target struct {
	Name string // iqn.*
	LUNs []LUN

	// User and Secret ask initiators for CHAP; MutualUser and MutualSecret are
	// what the target answers with. Empty means none.
	User, Secret             string
	MutualUser, MutualSecret string

	// Initiators limits access to these addresses (tgtadm -I) or, with the
	// prefix "iqn.", names (-Q). Empty admits all.
	Initiators []string

	// Digests has the target agree to CRC32C for headers and data, to which tgtd
	// says no by default.
	Digests bool
}

// LUN is one logical unit on a file. Fields left zero keep tgtd's defaults.
type LUN struct {
	File      string // empty makes one in Options.Dir
	SizeBytes int64  // the file is created or grown to this, never shrunk
	BlockSize int    // bytes; 0 is 512

	SCSIID, SCSISN            string // VPD 83 T10 and NAA ids, VPD 80 serial number
	Vendor, Product, Revision string

	WriteThrough bool // no write cache: each write is synced before its answer
	Thin         bool // UNMAP and thin provisioning
	ReadOnly     bool

	BackingType string // tgtd's --bstype; empty is rdwr
}

func (o *Options) validate() error {
	for _, t := range o.Targets {
		if t.Name == "" {
			return errors.New("tgtd: a target needs a name")
		}
		if (t.User == "") != (t.Secret == "") || (t.MutualUser == "") != (t.MutualSecret == "") {
			return fmt.Errorf("tgtd: target %s: CHAP needs a user and a secret", t.Name)
		}
		for i, l := range t.LUNs {
			if l.SizeBytes < 0 || l.File == "" && l.SizeBytes == 0 {
				return fmt.Errorf("tgtd: target %s LUN %d: size %d", t.Name, i+1, l.SizeBytes)
			}
		}
	}
	return nil
}

// createFiles names and makes the files of LUNs that have none yet.
func (o *Options) createFiles(dir string) error {
	for ti := range o.Targets {
		for li := range o.Targets[ti].LUNs {
			l := &o.Targets[ti].LUNs[li]
			if l.File == "" {
				l.File = filepath.Join(dir, fmt.Sprintf("target%d-lun%d.img", ti+1, li+1))
			}
			if err := grow(l.File, l.SizeBytes); err != nil {
				return fmt.Errorf("tgtd: %w", err)
			}
		}
	}
	return nil
}

// grow makes file at least size bytes long.
func grow(file string, size int64) error {
	f, err := os.OpenFile(file, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	if st.Size() < size {
		return f.Truncate(size)
	}
	return nil
}

// commands are the tgtadm calls that configure a fresh process, in order.
func (o *Options) commands() [][]string {
	var cmds [][]string
	accounts := map[string]bool{}
	for ti, t := range o.Targets {
		target := "--mode target --tid " + strconv.Itoa(ti+1) + " --op "
		cmds = append(cmds, words(target+"new --targetname", t.Name))
		for li, l := range t.LUNs {
			cmds = append(cmds, l.commands(ti+1, li+1)...)
		}
		cmds = append(cmds, t.accountCommands(ti+1, accounts)...)
		if t.Digests {
			for _, key := range []string{"HeaderDigest", "DataDigest"} {
				cmds = append(cmds, words(target+"update --name "+key+" --value CRC32C"))
			}
		}
		initiators := t.Initiators
		if len(initiators) == 0 {
			initiators = []string{"ALL"}
		}
		for _, i := range initiators {
			if strings.HasPrefix(i, "iqn.") {
				cmds = append(cmds, words(target+"bind --initiator-name", i))
			} else {
				cmds = append(cmds, words(target+"bind --initiator-address", i))
			}
		}
	}
	return cmds
}

// accountCommands makes the target's accounts, unless made has them already
// (they are global in tgtd), and binds them.
func (t *Target) accountCommands(tid int, made map[string]bool) [][]string {
	var cmds [][]string
	account := func(user, secret string, bind ...string) {
		if user == "" {
			return
		}
		if !made[user] {
			made[user] = true
			cmds = append(cmds, words("--mode account --op new --user", user, "--password", secret))
		}
		cmds = append(cmds, words("--mode account --op bind --tid "+strconv.Itoa(tid)+" --user", append([]string{user}, bind...)...))
	}
	account(t.User, t.Secret)
	account(t.MutualUser, t.MutualSecret, "--outgoing")
	return cmds
}

// The caching mode page (SBC, page 08h) as tgtd makes it, with WCE clear.
const cachingWriteThrough = "mode_page=8:0:18:0x10:0:0xff:0xff:0:0:0xff:0xff:0xff:0xff:0x80:0x14:0:0:0:0:0:0"

func (l *LUN) commands(tid, lun int) [][]string {
	unit := fmt.Sprintf("--mode logicalunit --tid %d --lun %d --op ", tid, lun)
	create := words(unit+"new --backing-store", l.File)
	if l.BackingType != "" {
		create = append(create, "--bstype", l.BackingType)
	}
	if l.BlockSize != 0 {
		create = append(create, "--blocksize", strconv.Itoa(l.BlockSize))
	}
	cmds := [][]string{create}
	param := func(name, value string) {
		if value != "" {
			cmds = append(cmds, words(unit+"update --params", name+"="+value))
		}
	}
	param("scsi_id", l.SCSIID)
	param("scsi_sn", l.SCSISN)
	param("vendor_id", l.Vendor)
	param("product_id", l.Product)
	param("product_rev", l.Revision)
	if l.WriteThrough {
		cmds = append(cmds, words(unit+"update --params", cachingWriteThrough))
	}
	if l.Thin {
		param("thin_provisioning", "1")
	}
	if l.ReadOnly {
		param("readonly", "1")
	}
	return cmds
}

// words splits fixed at spaces and appends more as they are.
func words(fixed string, more ...string) []string {
	return append(strings.Fields(fixed), more...)
}

// url is what libiscsi and QEMU take for a LUN behind portal.
func (t *Target) url(portal string, lun int) string {
	u := url.URL{Scheme: "iscsi", Host: portal, Path: fmt.Sprintf("/%s/%d", t.Name, lun)}
	s := u.String()
	if t.User != "" {
		// libiscsi's own form, not a URL's: user%secret@
		s = strings.Replace(s, "://", "://"+t.User+"%"+t.Secret+"@", 1)
	}
	return s
}
