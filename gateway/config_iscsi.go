// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"errors"
	"net/netip"
	"slices"
	"strings"

	"pathgate/gateway/iscsi"
)

// ISCSIConfig is the iSCSI target: one target per VM, one LUN per disk.
type ISCSIConfig struct {
	// Listen is empty when no iSCSI target is wanted. Each address, always TCP, is a
	// portal group of its own, tagged from 1 in this order.
	Listen []ISCSIListener
	// Prefix is an iSCSI name (iqn.), at most 159 bytes; a VM's target is the prefix,
	// a colon and the VM's name in lower case. Default iqn.2026-11.internal.pathgate.
	// Another prefix is another target to every initiator.
	Prefix string
	// Digests says whether headers and data are protected by CRC32C. Default prefer:
	// as the initiator wants it.
	Digests iscsi.DigestMode
	// QueueDepth is how many commands a session may have outstanding, 1-4096, default
	// 128. What its disks allow together may be less.
	QueueDepth int
	// PlaintextRemote allows listeners that are not on loopback. iSCSI shows and lets
	// change every byte on that network, with CHAP too; false refuses them.
	PlaintextRemote bool
}

// ISCSIListener is one portal.
type ISCSIListener struct {
	ListenAddr
	// Advertise are the addresses that discovery tells for the portal: where clients
	// reach it through NAT, or of those of the host the ones that are meant for them.
	// Empty: its own; of one on all addresses, the one that the client asked.
	Advertise []Portal
}

// VMISCSIConfig says who may use a VM's disks over iSCSI. What is empty restricts
// nothing; initiators that do not meet it do not see the VM either.
type VMISCSIConfig struct {
	// Names are those of the initiators that may log in, in lower case. A name proves
	// nothing: anyone can use it.
	Names []string
	// Networks are where they may come from.
	Networks []netip.Prefix
	// CHAP is nil when initiators need no secret.
	CHAP *InitiatorCHAP
	// Redirect sends initiators elsewhere when they log in; nil: nowhere.
	Redirect *ISCSIRedirect
}

// ISCSIRedirect is a login redirection (RFC 7143 11.13.5). Discovery tells the VM as
// before, and nothing has to be proved before it.
type ISCSIRedirect struct {
	// To is a portal of another target, or one of ours: a login that has come to that
	// one is served.
	To Portal
	// Permanent has the initiator forget where it was sent from.
	Permanent bool
}

// InitiatorCHAP is how initiators prove themselves, and we to them.
type InitiatorCHAP struct {
	// User is the initiator's CHAP name, 1-255 bytes. VMs with one User have one
	// Secret.
	User string
	// Secret holds 12-255 bytes.
	Secret Secret
	// MutualUser and MutualSecret prove the gateway to an initiator that asks; its file
	// differs from Secret's. Both empty: such an initiator is refused.
	MutualUser   string
	MutualSecret Secret
}

const (
	defaultISCSIPrefix = "iqn.2026-11.internal.pathgate"
	// maxISCSIPrefix leaves room for a VM's name: RFC 7143 4.2.7.1, at most 223 bytes.
	maxISCSIPrefix = 223 - 1 - 63
	iscsiListen    = "ip:port, port 3260 when left out; IPv6 in brackets; or systemd:name"
	clientPortal   = "host or host:port as clients reach it, port 3260 when left out; IPv6 in brackets"
)

// TargetName gives the iSCSI name of a VM's target.
func (c *ISCSIConfig) TargetName(vm string) string {
	return c.Prefix + ":" + strings.ToLower(vm)
}

func (d *decoder) iscsi(v value, key string) (c ISCSIConfig) {
	o := d.object(v, key, "listen", "prefix", "digests", "queue-depth", "plaintext-remote")
	o.list("listen", func(v value, key string) { c.Listen = append(c.Listen, d.iscsiListener(v, key)) })
	o.text("prefix", &c.Prefix, checkISCSIPrefix)
	modes := []iscsi.DigestMode{iscsi.DigestPrefer, iscsi.DigestRequire, iscsi.DigestOff}
	parsed(o, "digests", &c.Digests, func(s string) (iscsi.DigestMode, error) {
		i := slices.IndexFunc(modes, func(m iscsi.DigestMode) bool { return m.String() == s })
		if i < 0 {
			return 0, errWord
		}
		return modes[i], nil
	}, "one of prefer, require, off")
	o.integer("queue-depth", &c.QueueDepth, 1, 4096)
	o.bool("plaintext-remote", &c.PlaintextRemote)
	return c
}

// iscsiListener reads an address, or a mapping that has one.
func (d *decoder) iscsiListener(v value, key string) (l ISCSIListener) {
	if v.kind != kindMap {
		parseInto(d, v, key, &l.ListenAddr, parseISCSIListen, iscsiListen)
		return l
	}
	o := d.object(v, key, "address", "advertise")
	o.require("address")
	parsed(o, "address", &l.ListenAddr, parseISCSIListen, iscsiListen)
	o.list("advertise", func(v value, key string) {
		var p Portal
		parseInto(d, v, key, &p, parseClientPortal, clientPortal)
		l.Advertise = append(l.Advertise, p)
	})
	return l
}

// redirect reads a portal, or a mapping that has one.
func (d *decoder) redirect(v value, key string) *ISCSIRedirect {
	r := &ISCSIRedirect{}
	if v.kind != kindMap {
		parseInto(d, v, key, &r.To, parseClientPortal, clientPortal)
		return r
	}
	o := d.object(v, key, "to", "permanent")
	o.require("to")
	parsed(o, "to", &r.To, parseClientPortal, clientPortal)
	o.bool("permanent", &r.Permanent)
	return r
}

// parseClientPortal takes a portal that clients are told, which therefore has no zone.
func parseClientPortal(s string) (Portal, error) {
	p, err := parsePortal(s)
	if err == nil && strings.Contains(p.Host, "%") {
		return Portal{}, errHost
	}
	return p, err
}

func checkISCSIPrefix(s string) (msg, rule string) {
	if len(s) > maxISCSIPrefix || !strings.HasPrefix(s, "iqn.") || !ValidISCSIName(s) {
		return "cannot begin iSCSI names", "iqn.YYYY-MM.domain, lower case, at most 159 bytes; a colon and more may follow"
	}
	return "", ""
}

// parseISCSIListen takes what NBD takes, but for sockets.
func parseISCSIListen(s string) (ListenAddr, error) {
	if strings.HasPrefix(s, "unix:") {
		return ListenAddr{}, errListen
	}
	if name, ok := strings.CutPrefix(s, systemdNetwork+":"); ok {
		return parsePassed(name)
	}
	return parseTCPListen(s, DefaultISCSIPort)
}

var (
	errInitiator        = errors.New("is neither an iSCSI name, an address nor a network")
	errInitiatorPattern = errors.New("is a pattern")
	errInitiatorCase    = errors.New("has upper-case letters, and iSCSI names are the same in any case")
)

const initiatorRule = iscsiNameRule + ", lower case; or such as 192.0.2.7, 10.1.0.0/16, fd00::/64; none for everyone"

// add takes the name or the network of an initiator.
func (c *VMISCSIConfig) add(s string) error {
	network, err := parseNetwork(s)
	switch {
	case ValidISCSIName(s):
		c.Names = append(c.Names, s)
	case err == nil:
		c.Networks = append(c.Networks, network)
	case strings.ContainsAny(s, "*?"):
		return errInitiatorPattern
	case ValidISCSIName(strings.ToLower(s)):
		return errInitiatorCase
	default:
		return errInitiator
	}
	return nil
}

func (d *decoder) vmISCSI(v value, key string) (c VMISCSIConfig) {
	o := d.object(v, key, "initiators", "chap", "redirect")
	o.list("initiators", func(v value, key string) {
		var text string
		parseInto(d, v, key, &text, func(s string) (string, error) {
			return s, c.add(s)
		}, initiatorRule)
	})
	if v, key, ok := o.get("chap"); ok {
		c.CHAP = d.initiatorCHAP(v, key)
	}
	if v, key, ok := o.get("redirect"); ok {
		c.Redirect = d.redirect(v, key)
	}
	return c
}

func (d *decoder) initiatorCHAP(v value, key string) *InitiatorCHAP {
	o := d.object(v, key, "user", "secret-file", "mutual")
	c := &InitiatorCHAP{}
	o.require("user")
	o.require("secret-file")
	o.text("user", &c.User, checkUser)
	o.text("secret-file", &c.Secret.File, checkPath)
	if v, key, ok := o.get("mutual"); ok {
		m := d.object(v, key, "user", "secret-file")
		m.require("user")
		m.require("secret-file")
		m.text("user", &c.MutualUser, checkUser)
		m.text("secret-file", &c.MutualSecret.File, checkPath)
	}
	return c
}

// lunID reads the number that a disk is to have.
func (o object) lunID(into **uint16) {
	n := -1
	o.integer("lun-id", &n, 0, maxLUNNumber)
	if n >= 0 {
		lun := uint16(n)
		*into = &lun
	}
}
