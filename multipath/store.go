// SPDX-License-Identifier: Apache-2.0

package multipath

import (
	"strconv"
	"strings"
	"time"
)

// Store keeps what must survive a restart. Methods return when it is safe, or
// with an error and nothing changed. They may wait for a disk, so they are never
// called with a lock held, nor on the way of a request. Safe for concurrent use.
type Store interface {
	// TargetNumber gives the number of a target name on a portal: made the first
	// time, never given to another.
	TargetNumber(target, portal string) (int, error)
	// BindName keeps what a name stands for. Another identity than before is an
	// error and changes nothing.
	BindName(name, identity string) error
	// Binding gives the identity that a name is bound to.
	Binding(name string) (identity string, ok bool, err error)
	// PutGhosts, DeleteGhosts and Ghosts keep what may still run at the targets. A
	// ghost is known by Device, Path, Run, Generation, ITT and CmdSN.
	PutGhosts(list ...GhostRecord) error
	DeleteGhosts(list ...GhostRecord) error
	Ghosts() ([]GhostRecord, error)
	// SetPathDisabled and DisabledPaths keep an administrator's decisions.
	SetPathDisabled(path string, disabled bool) error
	DisabledPaths() (map[string]bool, error)
	// PutSelection keeps how an administrator has a device's paths selected; nil: as its
	// rule says. Selection gives it; ok is false when there is none.
	PutSelection(device string, s *Selection) error
	Selection(device string) (s Selection, ok bool, err error)
}

// openITT marks the record of a path in use: ITTs of commands are never this
// (RFC 7143 11.2.1.8, Initiator Task Tag).
const openITT = 0xffffffff

// GhostRecord is a change that may still run at a target, as it is stored.
//
// A path in use has a record too, of the whole LUN: written before the path
// carries its first request, and removed when its session has logged out with
// nothing in flight, or was fenced. What a run that was killed leaves is
// therefore exactly what has to be fenced before the next run's first write.
type GhostRecord struct {
	// Device is the LUN's identity, Path the path's name.
	Device, Path string
	// Whole: all of the LUN is held, else Offset and Length in bytes.
	Whole          bool
	Offset, Length uint64
	// Run counts the runs of the gateway, Generation the logins of the session.
	Run, Generation uint64
	// Target and Portal are those of the path, which may not be found again by itself.
	Target, Portal string
	// GroupTag is the target portal group of that login, if Tagged: a login to another
	// group does not replace the session.
	Tagged     bool
	GroupTag   uint16
	ITT, CmdSN uint32
	// Time is when the path was lost, or taken into use.
	Time time.Time
}

// parsePath takes a path's name apart: adapter, target number, LUN.
func parsePath(name string) (adapter string, target int, lun uint16, ok bool) {
	head, l, ok1 := cutLast(name)
	adapter, t, ok2 := cutLast(head)
	n, err1 := strconv.Atoi(t)
	u, err2 := strconv.ParseUint(l, 10, 16)
	return adapter, n, uint16(u), ok1 && ok2 && adapter != "" && err1 == nil && err2 == nil
}

func cutLast(s string) (head, tail string, ok bool) {
	i := strings.LastIndexByte(s, ':')
	if i < 0 {
		return "", "", false
	}
	return s[:i], s[i+1:], true
}
