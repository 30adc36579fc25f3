// SPDX-License-Identifier: Apache-2.0

package scsi

import (
	"cmp"
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"sync"
	"sync/atomic"

	"pathgate/backends"
	"pathgate/internal/scsi"
)

// UnitConfig describes a Unit.
type UnitConfig struct {
	// Device holds the blocks. The unit does not close it.
	Device backends.Device
	// UUID of the disk; its NAA designator is made of it, so it must never change.
	UUID [16]byte
	// Vendor (8), Product (16) and Revision (4 characters), ASCII. Empty:
	// "PATHGATE", "DISK", "1".
	Vendor, Product, Revision string
	// Serial is the unit serial number. Empty: the UUID in hex.
	Serial string
	// BlockSize is the logical block, 512 or 4096 bytes and a multiple of the
	// device's. 0: the device's.
	BlockSize uint32
	// PhysicalBlock is what initiators are told of the physical block, a power of
	// two in bytes. 0: the device's.
	PhysicalBlock uint32
	// MaxTransfer is the longest READ or WRITE in bytes. 0: 16 MiB.
	MaxTransfer uint32
	// ReadOnly refuses changes; a device with backends.ReadOnly always does.
	ReadOnly bool
	// Reservations is what Store kept last, nil for a unit that is new to it.
	Reservations []byte
	// Store keeps persistent reservations over a restart. Nil: they are not
	// kept, and APTPL is refused.
	Store ReservationStore
	// Erasure is what Erasures kept last; it goes on at once. Nil: none.
	Erasure []byte
	// Erasures keeps a SANITIZE or FORMAT UNIT over a restart. Nil: it ends with the
	// unit.
	Erasures ErasureStore
}

// ReservationStore keeps the persistent reservations of one unit.
type ReservationStore interface {
	// SaveReservations replaces what is kept by data; nil: nothing is to be kept.
	// done is to be called once, when that is durable or has failed, on any
	// goroutine but never inside SaveReservations, which must not block. The next
	// call comes after done only.
	SaveReservations(data []byte, done func(error))
}

// Done is told the end of a task management function, by a batch: the tasks that
// it covers have ended. The CommandDone of one that ended by itself on another
// goroutine just before may come a little later. The result is
// OK, or Transport when a request of its tasks may still run below; the device
// holds its range then.
type Done func(b *backends.Batch, res backends.Result)

// Unit is one logical unit. All methods are safe for concurrent use. Make it
// with NewUnit.
type Unit struct {
	cfg      UnitConfig
	table    []entry
	stop     func() // of Device.Watch
	geometry atomic.Pointer[geometry]
	// descriptorSense is modes.descriptorSense, to be read without mu.
	descriptorSense atomic.Bool
	// writeThrough: every write is FUA, since WCE was cleared.
	writeThrough atomic.Bool
	// outside is the access of one that is no nexus.
	outside atomic.Uint32
	// erasing is the erasure that is under way or has failed, or nil. Written with
	// mu held.
	erasing atomic.Pointer[erasure]

	mu    sync.Mutex
	links []*link
	tasks taskSet
	// visits are steps of copies that the task of another unit makes here.
	visits []*visit
	modes  modes
	// reserver has a RESERVE, or nil.
	reserver     *link
	reservations reservations
	reserving    []reserveTask // the first is being carried out
	closed       bool
}

const defaultMaxTransfer = 16 << 20

// NewUnit makes a unit.
func NewUnit(cfg UnitConfig) (*Unit, error) {
	if cfg.Device == nil {
		return nil, errors.New("unit needs a device")
	}
	info := cfg.Device.Info()
	if cfg.BlockSize == 0 {
		cfg.BlockSize = info.LogicalBlock
	}
	if cfg.BlockSize != 512 && cfg.BlockSize != 4096 || cfg.BlockSize%info.LogicalBlock != 0 {
		return nil, fmt.Errorf("block size %d over a device with %d: not possible", cfg.BlockSize, info.LogicalBlock)
	}
	if bits.OnesCount32(cmp.Or(cfg.PhysicalBlock, 1)) != 1 {
		return nil, fmt.Errorf("physical block of %d bytes: not a power of two", cfg.PhysicalBlock)
	}
	if cfg.MaxTransfer == 0 {
		cfg.MaxTransfer = defaultMaxTransfer
	}
	cfg.fillNames()
	u := &Unit{cfg: cfg, table: commands()}
	u.geometry.Store(newGeometry(&info, &cfg))
	r, err := decodeReservations(cfg.Reservations)
	if err != nil {
		return nil, err
	}
	u.reservations = r
	e, err := u.decodeErasure(cfg.Erasure)
	if err != nil {
		return nil, err
	}
	u.erasing.Store(e)
	u.levelsLocked()
	u.modes = defaultModes()
	u.stop = cfg.Device.Watch(u.deviceChanged)
	if e != nil && !e.over.Load() {
		var b backends.Batch
		e.start(&b)
		b.Run()
	}
	return u, nil
}

// Close ends the watching of the device and stops an erasure. Every mapping has to
// be removed before.
func (u *Unit) Close() {
	u.stop()
	u.stopErasing()
}

// deviceChanged tells all nexuses what initiators have to know.
func (u *Unit) deviceChanged(c backends.Change) {
	info := u.cfg.Device.Info()
	g := newGeometry(&info, &u.cfg)
	u.mu.Lock()
	old := u.geometry.Swap(g)
	u.setModesLocked(u.modes) // WCE is only of a device with a cache
	u.mu.Unlock()
	all := func(*link) bool { return true }
	if old.cached() != g.cached() || old.caps.Has(backends.ReadOnly) != g.caps.Has(backends.ReadOnly) {
		u.tell(scsi.CodeModeParametersChanged, all) // WCE and WP
	}
	if c&backends.SizeChanged != 0 {
		u.tell(scsi.CodeCapacityChanged, all)
	}
	if c&backends.CapsChanged != 0 {
		u.tell(scsi.CodeInquiryChanged, all)
	}
}

func (u *Unit) attach(l *link) {
	u.mu.Lock()
	defer u.mu.Unlock()
	l.attention.add(scsi.CodeResetOccurred)
	u.links = append(u.links, l)
	u.levelsLocked()
}

// tell queues the unit attention c for the links that to picks.
func (u *Unit) tell(c scsi.SenseCode, to func(*link) bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, l := range u.links {
		if to(l) {
			l.attention.add(c)
		}
	}
}

// detachLocked forgets l and the RESERVE that it has.
func (u *Unit) detachLocked(l *link) {
	if i := slices.Index(u.links, l); i >= 0 {
		u.links = slices.Delete(u.links, i, i+1)
	}
	if u.reserver == l {
		u.reserver = nil
		u.levelsLocked()
	}
}

// readOnly tells whether the medium can never be changed.
func (u *Unit) readOnly() bool {
	return u.cfg.ReadOnly || u.geometry.Load().caps.Has(backends.ReadOnly)
}

// protectionLocked is why a change is refused.
func (u *Unit) protectionLocked() scsi.Sense {
	if u.modes.writeProtected && !u.readOnly() {
		return scsi.CodeSoftwareWriteProtected.Sense()
	}
	return scsi.CodeWriteProtected.Sense()
}

// maxBlocks is the MAXIMUM TRANSFER LENGTH.
func (u *Unit) maxBlocks() uint64 { return uint64(u.cfg.MaxTransfer / u.cfg.BlockSize) }

// maxCompare is the MAXIMUM COMPARE AND WRITE LENGTH: such a command is one
// request.
func (u *Unit) maxCompare() uint64 {
	n := uint64(255)
	if limit := u.geometry.Load().compare; limit != 0 {
		n = min(n, limit/uint64(u.cfg.BlockSize))
	}
	return n
}
