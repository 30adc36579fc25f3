// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"net/netip"
	"time"

	"pathgate/multipath"
)

// Config is one gateway's declaration, read by Load or Parse, which leave no field
// without its default and return nothing but a valid Config. It is not changed
// after that; several goroutines may read it. What changes at run time (disabled
// paths, aliases, bindings) is in the Store.
type Config struct {
	// State is the absolute directory of the store; made with mode 0700 when it is
	// missing. Default /var/lib/pathgate, or the XDG state directory when not root.
	// Two gateways on one directory: the second is refused.
	State string
	// Control is where the control API listens, always a unix socket. Default
	// /run/pathgate/control.sock, or in XDG_RUNTIME_DIR when not root.
	Control ListenAddr
	// Initiator is our iSCSI initiator name (iqn., eui. or naa.), at most 223 bytes.
	// Default: made from the host name. Two gateways with one name take each other's
	// sessions and reservations down.
	Initiator string
	// Adapters are the initiator-side ports, in the order of the file; at least one
	// when there are targets. Names are unique.
	Adapters []AdapterConfig
	// Targets are the portals that sessions go to. May be empty when all disks are files.
	Targets []TargetConfig
	// Claims are the claim rules, in the order of the file; no two have one number.
	// More may be added at run time. Without any every path is used.
	Claims []multipath.ClaimRule
	// LUNs are rules per identity or file; the first that matches wins. Use LUNRuleFor.
	LUNs []LUNRule
	// Groups are sets of disks that share a weight and limits. Names are unique.
	Groups []GroupConfig
	// VMs own the disks. May be empty: paths can then be looked at, nothing is served.
	VMs []VMConfig
	// NBD is the NBD server; without a listener none is started.
	NBD NBDConfig
	// ISCSI is the iSCSI target; without a listener there is none.
	ISCSI ISCSIConfig
	// Limits bound what clients can make the gateway use.
	Limits LimitsConfig
	// Timeouts is the one table of timers.
	Timeouts Timeouts
	// Marginal is the default of LUNRule.Marginal.
	Marginal MarginalConfig

	src source // file and positions, for faults found later (CheckExtents)
}

// AdapterConfig is one initiator-side port. Exactly one of Interface and Address is set.
type AdapterConfig struct {
	// Name is the first part of path names ("vmhba0"); a valid object name.
	Name string
	// Interface binds sockets to a network interface (SO_BINDTODEVICE), 1-15 bytes.
	// Its link events fail the adapter's paths at once.
	Interface string
	// Address binds sockets to a source address. The zero Addr means none.
	Address netip.Addr
	// Bandwidth is what the adapter carries. 0: not known; then each of a device's
	// paths counts alike when the scheduler is told what is left of them.
	Bandwidth Bandwidth
}

// TargetConfig is a set of portals with common rules.
type TargetConfig struct {
	// Portals get sessions from every adapter; at least one, no two equal.
	Portals []Portal
	// Name limits the sessions to one target name. Empty: every name that
	// SendTargets reports there.
	Name string
	// Discover adds portals that targets advertise, inside AllowedNetworks only.
	Discover bool
	// AllowedNetworks bounds where advertised portals and redirections may lead.
	// Empty: the listed portals only. Needed with Discover.
	AllowedNetworks []netip.Prefix
	// CHAP is nil when the target is logged in to without authentication.
	CHAP *CHAPConfig
	// Adapters names the adapters to use, in file order. Never empty after Parse:
	// all adapters by default.
	Adapters []string
	// HeaderDigest and DataDigest say what is offered at login.
	HeaderDigest, DataDigest Digest
	// LUNRange bounds REPORT LUNS answers and probing. Default 0-255.
	LUNRange LUNRange
	// Bandwidth is what each of the portals carries, as AdapterConfig.Bandwidth, of
	// advertised ones too. Portals that differ have entries of their own.
	Bandwidth Bandwidth
}

// CHAPConfig is the authentication of one target entry. The secrets are files.
type CHAPConfig struct {
	// User is our name towards the target; 1-255 bytes without control characters.
	User string
	// Secret is what we answer the target's challenge with.
	Secret Secret
	// MutualUser is the name the target must give; set exactly when MutualSecret is.
	MutualUser string
	// MutualSecret checks the target; its file differs from Secret's. Empty File:
	// the target is not authenticated.
	MutualSecret Secret
}

// LUNRange is an inclusive range of LUN numbers; 0 <= First <= Last <= 16383.
type LUNRange struct{ First, Last uint16 }

// LUNRule sets how devices are used. The zero value is not valid; LUNRuleFor gives
// the default rule for a device that no rule matches.
type LUNRule struct {
	// ID is an identity, alias or canonical name, or "file:" and the absolute path of a
	// local file, a prefix of one with a trailing "*", or "*" for all LUNs and files. Of
	// a file's rule only Scheduler and the queue's bounds count.
	ID string
	// Alias is a further name of the one device with this ID, unique among all rules
	// and those given at run time; "": none. Not for patterns and files.
	Alias string
	// Selector picks the path inside the group in use, and says which paths make the
	// group. Default service-time. What was set at run time takes its place.
	Selector multipath.Selection
	// Failback is when what was lost is used again.
	Failback Failback
	// ExclusivePreferred: of port groups that are optimized alike only those that the
	// target prefers are used. Default false: all of them.
	ExclusivePreferred bool
	// AllPathsDown says what happens to requests while no path lives.
	AllPathsDown AllPathsDown
	// Cache says whether the LUN's write cache survives a target restart. Default
	// volatile: evidence of a restart makes the next flush fail. A false
	// "protected" loses acknowledged writes silently.
	Cache CacheMode
	// QuiesceTime is how long old sessions are left alone before a write that
	// overlaps a ghost may pass when no fence is possible. 0: no such time, the
	// write waits until fenced. Too short a time corrupts data. Default Timeouts.Quiesce.
	QuiesceTime time.Duration
	// Fence and Reservation are about others who use the LUN.
	Fence       FenceConfig
	Reservation ReservationConfig
	// Marginal says when a path that works is not used. What a rule leaves out is as
	// in Config.Marginal.
	Marginal MarginalConfig
	// Scheduler is how requests of the VMs are put in order.
	Scheduler SchedulerConfig
	// QueueCommands and QueueBytes bound what one VM may have outstanding here, where
	// none of its disks says otherwise: 1-65536, default 1024, and 1 MiB-4 GiB, default
	// 64 MiB.
	QueueCommands int
	QueueBytes    Size
}

// VMConfig is one guest.
type VMConfig struct {
	// Name is the first part of export names; a valid object name, unique.
	Name string
	// Priority is 0-10, higher wins (the patent, par. 0105). Default 5.
	Priority uint8
	// GuestTimeout is after what time the guest's driver gives a request up.
	// 0: never (virtio-blk, Linux virtio-scsi). Bounds queueing while all paths are down.
	GuestTimeout time.Duration
	// ISCSI says who may use its disks over iSCSI; the zero value: all who can connect.
	ISCSI VMISCSIConfig
	// NBD says who may use its disks over NBD; the zero value: all who can connect.
	NBD VMNBDConfig
	// Clients is the default of DiskConfig.Clients: ClientsExclusive.
	Clients ClientsMode
	// Disks is what the VM sees; at least one, names unique inside the VM.
	Disks []DiskConfig
}

// DiskConfig is one virtual disk: either extents of LUNs, concatenated in order, or
// one file. Extents of different disks never overlap, unless both are read-only.
type DiskConfig struct {
	// Name is the second part of the export name; a valid object name.
	Name string
	// LUNID is the number that the VM's initiators see the disk under, 0-16383, unique
	// in the VM. Nil: chosen when the disk is first seen, and kept.
	LUNID *uint16
	// Extents is empty for a file disk. A disk written with `lun:` has one.
	Extents []ExtentConfig
	// File is the absolute path of an image, block device or partition. Empty for LUNs.
	File string
	// Size of a file disk, a multiple of 512. 0: the file's or device's own size;
	// otherwise a missing file is made with this size. Unused with extents.
	Size Size
	// MaxSize is how far a file disk may grow while it is used. Its size is then that of
	// its file, and at least Size. 0: an administrator decides, if Size is 0 too. Unused
	// with extents and ReadOnly.
	MaxSize Size
	// ClientResize says whether NBD clients may have the disk grow, up to MaxSize, which
	// has to be set then. Default: off.
	ClientResize ClientResize
	// BlockSize is the logical block of a file disk, 512 or 4096 bytes. 0: 512, or that
	// of the block device. With extents it is that of the LUN.
	BlockSize uint32
	// ReadOnly refuses writes.
	ReadOnly bool
	// AllPathsDown says what its requests do while a LUN of it has no path. The zero
	// value: as the LUN's rule says. It is not for a file disk.
	AllPathsDown AllPathsDown
	// Open says what opening does while the LUN or file is not there. Default wait.
	Open OpenMode
	// Clients says what becomes of a second client. Default: the VM's. A read-only disk
	// is always shared.
	Clients ClientsMode
	// MultiConn says whether an NBD client may have several connections. Default: auto.
	MultiConn MultiConn
	// Share is what the disk is to get of its LUNs or file.
	Share DiskShare
}

// ExtentConfig is a range of one LUN.
type ExtentConfig struct {
	// LUN is an identity, an alias or a canonical name such as "vmhba0:0:1".
	LUN string
	// Offset and Size are multiples of 512. Size 0: to the end of the LUN, and the disk
	// grows with it; only for the last extent of a disk.
	Offset, Size Size
}

// NBDConfig is the NBD server.
type NBDConfig struct {
	// Listen is empty when no NBD server is wanted.
	Listen []NBDListener
	// OpenWait bounds how long opening a disk with Open=wait waits. Default 30 s,
	// 1 s to 10 min. Clients give up by themselves, often earlier.
	OpenWait time.Duration
	// PlaintextRemote allows listeners that are not on loopback and do not require TLS. NBD without TLS
	// shows and lets change every byte on that network; false refuses them.
	PlaintextRemote bool
	// OnStop says what becomes of requests that come in while the gateway stops, or a disk
	// is taken away. Default StopError.
	OnStop StopMode
}
