// SPDX-License-Identifier: Apache-2.0

package iscsi

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"time"

	wire "pathgate/internal/iscsi"
)

// Defaults of Config.
const (
	DefaultQueueDepth               = 128
	DefaultMaxRecvDataSegmentLength = 256 << 10
	DefaultMaxBurstLength           = 1 << 20
	DefaultFirstBurstLength         = 256 << 10
	DefaultMaxOutstandingR2T        = 4
	DefaultLoginTimeout             = 15 * time.Second
	DefaultTaskTimeout              = 10 * time.Second
	DefaultDataTimeout              = time.Minute
	DefaultNOPInterval              = 5 * time.Second
	DefaultNOPTimeout               = 10 * time.Second
	DefaultDrainTimeout             = 10 * time.Second
	DefaultUserTimeout              = 2 * time.Minute
	DefaultMaxConnections           = 1024
	DefaultMaxLogins                = 512
	DefaultMaxLoginsPerAddress      = 256
	DefaultMaxPending               = 4 << 20
)

const (
	// maxQueueDepth bounds the command window: a task takes about a kilobyte.
	maxQueueDepth = 4096
	// maxR2Ts bounds MaxOutstandingR2T: a task has room for so many.
	maxR2Ts = 8
)

// DigestMode says how header and data digests are negotiated.
type DigestMode uint8

// The modes. CRC32C is the only algorithm.
const (
	// DigestPrefer leaves it to the initiator's order of preference.
	DigestPrefer DigestMode = iota
	// DigestRequire refuses an initiator without digests.
	DigestRequire
	// DigestOff uses none.
	DigestOff
)

// String gives the word of the configuration.
func (m DigestMode) String() string {
	switch m {
	case DigestPrefer:
		return "prefer"
	case DigestRequire:
		return "require"
	case DigestOff:
		return "off"
	}
	return fmt.Sprintf("digest(%d)", uint8(m))
}

// accepts lists what a login may choose.
func (m DigestMode) accepts() []wire.Digest {
	switch m {
	case DigestPrefer:
		return []wire.Digest{wire.DigestCRC32C, wire.DigestNone}
	case DigestRequire:
		return []wire.Digest{wire.DigestCRC32C}
	case DigestOff:
	}
	return []wire.Digest{wire.DigestNone}
}

// Config is what a Server is made of. Zero fields take the default named.
type Config struct {
	// Targets is required.
	Targets TargetSource
	// HeaderDigest and DataDigest: DigestPrefer.
	HeaderDigest, DataDigest DigestMode
	// QueueDepth is how many commands a session may have outstanding, at most 4096.
	// The credits of its units may allow less. DefaultQueueDepth.
	QueueDepth int
	// MaxRecvDataSegmentLength is the longest data segment that an initiator may
	// send, in bytes, 512 to 2^24-1. DefaultMaxRecvDataSegmentLength.
	MaxRecvDataSegmentLength uint32
	// MaxBurstLength and FirstBurstLength bound a sequence of data and unsolicited
	// data, in bytes, 512 to 2^24-1. DefaultMaxBurstLength, DefaultFirstBurstLength.
	MaxBurstLength, FirstBurstLength uint32
	// MaxOutstandingR2T is how many R2Ts a task may have open, 1 to 8.
	// DefaultMaxOutstandingR2T.
	MaxOutstandingR2T int
	// InitialR2T has all write data but immediate data wait for an R2T.
	InitialR2T bool
	// NoImmediateData refuses data in a SCSI Command PDU.
	NoImmediateData bool
	// LoginTimeout bounds the time from accept to full feature phase, and how long a
	// login waits for the tasks of a session that it replaces. DefaultLoginTimeout.
	LoginTimeout time.Duration
	// TaskTimeout bounds the answer to a task management function; what has not
	// ended by then is answered with Function Rejected. DefaultTaskTimeout.
	TaskTimeout time.Duration
	// DataTimeout is how long a task may wait for a PDU of the data that its initiator
	// owes it: after that the session ends, and with it the task. It is looked at as
	// often as the initiator may be pinged. DefaultDataTimeout; negative: for ever.
	DataTimeout time.Duration
	// NOPInterval is the silence after which an initiator is pinged, NOPTimeout the
	// further silence after which its session ends. DefaultNOPInterval,
	// DefaultNOPTimeout; a negative interval: it is never pinged.
	NOPInterval, NOPTimeout time.Duration
	// DrainTimeout is how long initiators may take to log out after the stop; then
	// their tasks are aborted. DefaultDrainTimeout.
	DrainTimeout time.Duration
	// UserTimeout ends a TCP connection whose peer takes no data for that long
	// (TCP_USER_TIMEOUT). DefaultUserTimeout; negative: the kernel's.
	UserTimeout time.Duration
	// MaxConnections bounds the connections of all portals; one more is told so when
	// it logs in (0302h). DefaultMaxConnections.
	MaxConnections int
	// MaxPerAddress bounds the connections from one address, likewise. MaxConnections.
	MaxPerAddress int
	// MaxLogins bounds the connections that have not logged in yet,
	// MaxLoginsPerAddress those of one address; one more is closed at once.
	// DefaultMaxLogins, DefaultMaxLoginsPerAddress.
	MaxLogins, MaxLoginsPerAddress int
	// MaxPending is how many bytes of answers may wait for an initiator that does
	// not read before its requests are no longer read. DefaultMaxPending.
	MaxPending int64
	// Rival is told that p was refused at target since another host, whose connection is
	// called other, has its name and ISID: they had thrown each other out again and
	// again. It is called with no lock held, for each such login; nil: nobody is told.
	Rival func(p *Peer, target, other string)
	// Logger is told sessions and their ends, at a bounded rate; nil: nothing is
	// logged.
	Logger *slog.Logger
}

// complete puts in the defaults and checks all fields.
func (c *Config) complete() error {
	c.QueueDepth = cmp.Or(c.QueueDepth, DefaultQueueDepth)
	c.MaxRecvDataSegmentLength = cmp.Or(c.MaxRecvDataSegmentLength, DefaultMaxRecvDataSegmentLength)
	c.MaxBurstLength = cmp.Or(c.MaxBurstLength, DefaultMaxBurstLength)
	c.FirstBurstLength = cmp.Or(c.FirstBurstLength, min(DefaultFirstBurstLength, c.MaxBurstLength))
	c.MaxOutstandingR2T = cmp.Or(c.MaxOutstandingR2T, DefaultMaxOutstandingR2T)
	c.LoginTimeout = cmp.Or(c.LoginTimeout, DefaultLoginTimeout)
	c.TaskTimeout = cmp.Or(c.TaskTimeout, DefaultTaskTimeout)
	c.DataTimeout = cmp.Or(c.DataTimeout, DefaultDataTimeout)
	c.NOPInterval = cmp.Or(c.NOPInterval, DefaultNOPInterval)
	c.NOPTimeout = cmp.Or(c.NOPTimeout, DefaultNOPTimeout)
	c.DrainTimeout = cmp.Or(c.DrainTimeout, DefaultDrainTimeout)
	c.UserTimeout = cmp.Or(c.UserTimeout, DefaultUserTimeout)
	c.MaxConnections = cmp.Or(c.MaxConnections, DefaultMaxConnections)
	c.MaxPerAddress = cmp.Or(c.MaxPerAddress, c.MaxConnections)
	c.MaxLogins = cmp.Or(c.MaxLogins, DefaultMaxLogins)
	c.MaxLoginsPerAddress = cmp.Or(c.MaxLoginsPerAddress, min(DefaultMaxLoginsPerAddress, c.MaxLogins))
	c.MaxPending = cmp.Or(c.MaxPending, DefaultMaxPending)
	switch {
	case c.Targets == nil:
		return errors.New("iscsi target: no target source")
	case c.QueueDepth < 1 || c.QueueDepth > maxQueueDepth:
		return fmt.Errorf("iscsi target: queue depth %d, want 1 to %d", c.QueueDepth, maxQueueDepth)
	case c.MaxOutstandingR2T < 1 || c.MaxOutstandingR2T > maxR2Ts:
		return fmt.Errorf("iscsi target: %d outstanding R2Ts, want 1 to %d", c.MaxOutstandingR2T, maxR2Ts)
	case c.LoginTimeout < 0 || c.TaskTimeout < 0 || c.NOPTimeout < 0 || c.DrainTimeout < 0:
		return errors.New("iscsi target: negative timeout")
	case c.MaxConnections < 0 || c.MaxPerAddress < 0 || c.MaxLogins < 0 || c.MaxLoginsPerAddress < 0 || c.MaxPending < 0:
		return errors.New("iscsi target: negative limit")
	case c.MaxConnections > 65534:
		return fmt.Errorf("iscsi target: %d connections, want at most 65534: each session has a 16-bit handle", c.MaxConnections)
	case c.HeaderDigest > DigestOff || c.DataDigest > DigestOff:
		return errors.New("iscsi target: unknown digest mode")
	}
	s := c.settings(1)
	if err := s.Validate(wire.Target); err != nil {
		return fmt.Errorf("iscsi target: %w", err)
	}
	return nil
}

// settings are our side of a negotiation at a portal of group tag.
func (c *Config) settings(tag uint16) wire.Settings {
	s := wire.DefaultSettings()
	s.TargetPortalGroupTag = tag
	s.HeaderDigest, s.DataDigest = c.HeaderDigest.accepts(), c.DataDigest.accepts()
	s.InitialR2T, s.ImmediateData = c.InitialR2T, !c.NoImmediateData
	s.MaxRecvDataSegmentLength = c.MaxRecvDataSegmentLength
	s.MaxBurstLength, s.FirstBurstLength = c.MaxBurstLength, c.FirstBurstLength
	s.MaxOutstandingR2T = uint16(c.MaxOutstandingR2T)
	return s
}
