// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"cmp"
	"os"
	"path/filepath"
	"strings"
	"time"

	"pathgate/gateway/iscsi"
	"pathgate/multipath"
)

// This file and the timer table are the only places where defaults are set.

const (
	defaultPriority = 5
	defaultOpenWait = 30 * time.Second
	initiatorPrefix = "iqn.2026-11.internal.pathgate:"
)

func defaultTarget() TargetConfig {
	return TargetConfig{HeaderDigest: DigestNone, DataDigest: DigestNone, LUNRange: LUNRange{0, 255}}
}

func defaultVM() VMConfig { return VMConfig{Priority: defaultPriority, Clients: ClientsExclusive} }

func defaultDisk() DiskConfig {
	return DiskConfig{Open: OpenWait, MultiConn: MultiConnAuto, ClientResize: ClientResizeOff, Share: defaultDiskShare()}
}

// defaultLUNRule needs the timeouts, since QuiesceTime has its default there.
func (c *Config) defaultLUNRule() LUNRule {
	return LUNRule{
		Selector:     multipath.Selection{}.Normal(),
		AllPathsDown: AllPathsDown{Mode: AllPathsDownAuto},
		Failback:     Failback{Mode: FailbackDelayed},
		Cache:        CacheVolatile,
		QuiesceTime:  c.Timeouts.Quiesce,
		Fence:        FenceConfig{Reset: FenceResetAuto},
		Reservation:  ReservationConfig{Mode: ReservationNone},
		Marginal:     c.Marginal,
		Scheduler:    defaultScheduler(),

		QueueCommands: defaultQueueCommands,
		QueueBytes:    defaultQueueBytes,
	}
}

// host is what defaults are made from.
type host struct {
	uid  int
	name string // host name
	home string
	env  func(string) string
	// memory is what the process may take, in bytes.
	memory int64
}

func thisHost() host {
	name, _ := os.Hostname()
	home, _ := os.UserHomeDir()
	return host{uid: os.Geteuid(), name: name, home: home, env: os.Getenv, memory: memoryOfHost()}
}

// applyDefaults fills what the file leaves out and depends on the host or on other
// parts of the configuration.
func (c *Config) applyDefaults(h host) {
	c.State = cmp.Or(c.State, h.stateDir())
	if c.Control == (ListenAddr{}) {
		c.Control = h.control()
	}
	c.Initiator = cmp.Or(c.Initiator, initiatorPrefix+iqnSafe(h.name))
	c.NBD.OpenWait = cmp.Or(c.NBD.OpenWait, defaultOpenWait)
	c.NBD.OnStop = cmp.Or(c.NBD.OnStop, StopError)
	c.Limits.applyDefaults(h.memory)
	c.ISCSI.Prefix = cmp.Or(c.ISCSI.Prefix, defaultISCSIPrefix)
	c.ISCSI.QueueDepth = cmp.Or(c.ISCSI.QueueDepth, iscsi.DefaultQueueDepth)
	for i := range c.Targets {
		if len(c.Targets[i].Adapters) > 0 {
			continue
		}
		for _, a := range c.Adapters {
			c.Targets[i].Adapters = append(c.Targets[i].Adapters, a.Name)
		}
	}
}

// DefaultControl is where the control API of a gateway of this user listens when
// its configuration does not say.
func DefaultControl() ListenAddr { return thisHost().control() }

// stateDir: XDG Base Directory Specification, $XDG_STATE_HOME.
func (h host) stateDir() string {
	if h.uid == 0 {
		return "/var/lib/pathgate"
	}
	return filepath.Join(h.xdg("XDG_STATE_HOME", ".local/state"), "pathgate")
}

// control: XDG Base Directory Specification, $XDG_RUNTIME_DIR, which has no default;
// the state directory, which only its owner can enter, stands in.
func (h host) control() ListenAddr {
	dir := "/run/pathgate"
	if h.uid != 0 {
		dir = h.stateDir()
		if run := h.env("XDG_RUNTIME_DIR"); filepath.IsAbs(run) {
			dir = filepath.Join(run, "pathgate")
		}
	}
	return ListenAddr{Network: "unix", Address: filepath.Join(dir, "control.sock")}
}

// xdg: relative values are invalid by the specification and ignored.
func (h host) xdg(key, fallback string) string {
	if dir := h.env(key); filepath.IsAbs(dir) {
		return dir
	}
	return filepath.Join(cmp.Or(h.home, "/"), fallback)
}

// iqnSafe makes a host name fit for an iSCSI name (RFC 7143 4.2.7.1, allowed
// characters): lower case, letters, digits, dot, dash and colon.
func iqnSafe(name string) string {
	name = strings.Map(func(r rune) rune {
		switch {
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '.', r == '-':
			return r
		}
		return '-'
	}, name)
	name = strings.Trim(name[:min(len(name), 64)], ".-")
	return cmp.Or(name, "host")
}
