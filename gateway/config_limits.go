// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"cmp"
	"math"
	"os"
	"runtime/debug"
	"strconv"
	"strings"

	"pathgate/gateway/iscsi"
)

// LimitsConfig bounds what clients can make the gateway use, whoever they are.
type LimitsConfig struct {
	// Memory is what the process may take, 64 MiB-1 TiB. A quarter of it is for what
	// requests carry and for answers that wait, of all clients together. Default
	// GOMEMLIMIT, else half of the memory that the machine or its control group has.
	// Less, and clients with long requests wait for each other.
	Memory Size
	// VMMemory is what all clients of one VM may take of that quarter, 4 MiB to all of
	// it; half of it by default, so that no VM can use up what the others need.
	VMMemory Size
	// Connections bounds those of the NBD server, and of the iSCSI target, 1-65534.
	// Default 1024, or fewer where Memory has less than 2 MiB for each.
	Connections int
	// ConnectionsPerAddress bounds those from one address, likewise. Default Connections.
	ConnectionsPerAddress int
	// Logins and LoginsPerAddress bound iSCSI connections that have not logged in yet,
	// 1-65534. Default 512 and 256.
	Logins, LoginsPerAddress int
	// SessionsPerVM bounds the iSCSI sessions and NBD connections that use disks of one
	// VM, 1-65534. Default 65534: the other limits count.
	SessionsPerVM int
}

const (
	// minMemory is what the gateway needs without any client, and a little more.
	minMemory   = 64 << 20
	maxMemory   = 1 << 40
	minVMMemory = 4 << 20
	// memoryOfConnection is what Memory has to have for each connection by default: a
	// PDU that is being received, stacks, and the like, four times.
	memoryOfConnection = 2 << 20
	maxConnections     = 65534
	// payloadPart is the divisor that gives the part of Memory for payload: what the
	// collector has not found yet, and segments that are not full, may take as much
	// again, and the rest of the process needs its own.
	payloadPart = 4
	limitsRule  = "such as 512MiB or 4GiB; 64MiB to 1TiB"
)

func (d *decoder) clientLimits(v value, key string) (c LimitsConfig) {
	o := d.object(v, key, "memory", "vm-memory", "connections", "connections-per-address", "logins", "logins-per-address", "sessions-per-vm")
	o.size("memory", &c.Memory, false)
	o.size("vm-memory", &c.VMMemory, false)
	o.integer("connections", &c.Connections, 1, maxConnections)
	o.integer("connections-per-address", &c.ConnectionsPerAddress, 1, maxConnections)
	o.integer("logins", &c.Logins, 1, maxConnections)
	o.integer("logins-per-address", &c.LoginsPerAddress, 1, maxConnections)
	o.integer("sessions-per-vm", &c.SessionsPerVM, 1, maxConnections)
	return c
}

// applyDefaults fills what the file leaves out; memory is what there is by default.
func (c *LimitsConfig) applyDefaults(memory int64) {
	c.Memory = cmp.Or(c.Memory, Size(min(max(memory, minMemory), maxMemory)))
	c.VMMemory = cmp.Or(c.VMMemory, max(c.Memory/payloadPart/2, minVMMemory))
	c.Connections = cmp.Or(c.Connections, int(min(max(c.Memory/memoryOfConnection, 16), iscsi.DefaultMaxConnections)))
	c.ConnectionsPerAddress = cmp.Or(c.ConnectionsPerAddress, c.Connections)
	c.Logins = cmp.Or(c.Logins, iscsi.DefaultMaxLogins)
	c.LoginsPerAddress = cmp.Or(c.LoginsPerAddress, min(iscsi.DefaultMaxLoginsPerAddress, c.Logins))
	c.SessionsPerVM = cmp.Or(c.SessionsPerVM, maxConnections)
}

// limits checks what concerns several of the bounds.
func (v *validator) clientLimits() {
	l := &v.c.Limits
	switch {
	case l.Memory < minMemory || l.Memory > maxMemory:
		v.fault("limits.memory", "is out of range", limitsRule)
	case l.VMMemory < minVMMemory || l.VMMemory > l.Memory/payloadPart:
		v.fault("limits.vm-memory", "is out of range", "4MiB to a quarter of memory, here "+(l.Memory/payloadPart).String())
	}
	if l.ConnectionsPerAddress > l.Connections {
		v.fault("limits.connections-per-address", "is more than from all addresses", "at most connections, here "+strconv.Itoa(l.Connections))
	}
	if l.LoginsPerAddress > l.Logins {
		v.fault("limits.logins-per-address", "is more than from all addresses", "at most logins, here "+strconv.Itoa(l.Logins))
	}
}

// memoryOfHost is what the process may take when nothing is configured.
func memoryOfHost() int64 {
	if n := debug.SetMemoryLimit(-1); n != math.MaxInt64 { // GOMEMLIMIT
		return n
	}
	least := int64(math.MaxInt64)
	for _, file := range []string{"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"} {
		if b, err := os.ReadFile(file); err == nil {
			if n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64); err == nil && n > 0 {
				least = min(least, n)
			}
		}
	}
	if b, err := os.ReadFile("/proc/meminfo"); err == nil {
		least = min(least, memTotal(string(b)))
	}
	return least / 2
}

// memTotal reads the total of /proc/meminfo, in bytes.
func memTotal(text string) int64 {
	for line := range strings.Lines(text) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "MemTotal:" && f[2] == "kB" {
			if n, err := strconv.ParseInt(f[1], 10, 64); err == nil {
				return n << 10
			}
		}
	}
	return math.MaxInt64
}
