// SPDX-License-Identifier: Apache-2.0

package scsi

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"

	"pathgate/backends"
	"pathgate/internal/scsi"
)

// checkAllocation takes the allocation length of any command that has one.
func checkAllocation(t *task) scsi.Sense {
	_, n, err := t.c.CDB.Transfer(t.l.u.cfg.BlockSize)
	if err != nil {
		return scsi.CodeInvalidFieldInCDB.Sense()
	}
	t.demand.dir, t.demand.alloc = scsi.DataIn, n
	return scsi.Sense{}
}

// reply makes data the Data-In, cut to the allocation length.
func (t *task) reply(data []byte) {
	t.c.In.AppendBytes(data[:min(uint64(len(data)), t.demand.alloc)])
}

// checkInquiry reads INQUIRY.
func checkInquiry(t *task) scsi.Sense {
	c, err := scsi.DecodeInquiry(t.raw())
	switch {
	case err != nil:
		return scsi.CodeInvalidFieldInCDB.Sense()
	case !c.VPD && c.Page != 0:
		return badField(2, scsi.NoBit)
	}
	return checkAllocation(t)
}

// inquiry is INQUIRY.
func inquiry(b *backends.Batch, t *task) {
	c, _ := scsi.DecodeInquiry(t.raw())
	data := t.l.n.standardInquiry(t.l.u)
	if c.VPD {
		if data = t.l.vpd(c.Page); data == nil {
			t.deny(b, badField(2, scsi.NoBit))
			return
		}
	}
	t.reply(data)
	t.finish(b, backends.Done())
}

// Version descriptors (SPC-4, table of version descriptor values).
const (
	versionSAM5  = 0x00a0
	versionSPC4  = 0x0460
	versionSBC3  = 0x04c0
	versionISCSI = 0x0960
)

// standardInquiry makes standard INQUIRY data; u nil: there is no unit.
func (n *Nexus) standardInquiry(u *Unit) []byte {
	q := scsi.StandardInquiry{
		Peripheral: scsi.PeripheralNoUnit, Version: 6, PortGroupAccess: scsi.ALUAImplicit,
		CommandQueue: true, HiSup: true, ThirdPartyCopy: true, MultiPort: len(n.t.cfg.Ports) > 1,
		VersionDescriptors: [8]uint16{versionSAM5, versionISCSI, versionSPC4, versionSBC3},
	}
	if u != nil {
		q.Peripheral = scsi.PeripheralDisk
		q.Vendor, q.Product, q.Revision = u.cfg.Vendor, u.cfg.Product, u.cfg.Revision
	}
	return q.Append(nil)
}

// vpd makes a VPD page, or nil when there is none of that code.
func (l *link) vpd(page scsi.VPDPage) []byte {
	const disk = scsi.PeripheralDisk
	u := l.u
	g := u.geometry.Load()
	switch page {
	case scsi.PageSupported:
		return scsi.AppendVPD(nil, disk, page, []byte{
			byte(scsi.PageSupported), byte(scsi.PageSerialNumber), byte(scsi.PageIdentification),
			byte(scsi.PageExtendedInquiry), byte(scsi.PageModePolicy), byte(scsi.PagePorts), byte(scsi.PageThirdPartyCopy), byte(scsi.PageBlockLimits),
			byte(scsi.PageCharacteristics), byte(scsi.PageProvisioning),
		})
	case scsi.PageSerialNumber:
		return scsi.AppendSerialNumber(nil, disk, u.cfg.Serial)
	case scsi.PageIdentification:
		return scsi.AppendDesignators(nil, disk, l.designators())
	case scsi.PageExtendedInquiry:
		return scsi.ExtendedInquiry{
			Simple: true, OrderedTags: true, HeadOfQueue: true,
			VolatileCache: g.cache == backends.CacheVolatile, NonVolatileCache: g.cache == backends.CacheProtected,
		}.Append(nil, disk)
	case scsi.PageModePolicy: // all pages are shared by all nexuses
		return scsi.AppendVPD(nil, disk, page, []byte{byte(scsi.AllModePages), scsi.AllModeSubpages, 0, 0})
	case scsi.PagePorts:
		return scsi.AppendPorts(nil, disk, l.n.t.portNames())
	case scsi.PageThirdPartyCopy:
		return u.copyPage()
	case scsi.PageBlockLimits:
		return u.blockLimits(g).Append(nil, disk)
	case scsi.PageCharacteristics:
		c := scsi.Characteristics{RotationRate: scsi.NotRotating}
		if g.caps.Has(backends.Rotational) {
			c.RotationRate = 7200
		}
		if g.caps.Has(backends.CanUnmap) { // then there is SANITIZE, block erase
			c.BlockErase = 1
		}
		return c.Append(nil, disk)
	case scsi.PageProvisioning:
		return u.provisioning(g).Append(nil, disk)
	default:
		return nil
	}
}

// blockLimits is VPD page B0h: what commands are refused above, and what the
// device likes.
func (u *Unit) blockLimits(g *geometry) scsi.BlockLimits {
	b := scsi.BlockLimits{
		WriteSameNonZero: true, OptimalGranularity: uint16(min(g.physical/g.blockSize, 1<<16-1)),
		MaxTransfer: uint32(u.maxBlocks()), OptimalTransfer: uint32(min(g.optimal/g.blockSize, u.maxBlocks())),
		MaxPrefetch:  uint32(u.maxBlocks()),
		MaxWriteSame: writeSameBlocks,
	}
	if g.caps.Has(backends.CanCompareAndWrite) {
		b.MaxCompareAndWrite = uint8(u.maxCompare())
	}
	if g.caps.Has(canWriteAtomic) {
		b.MaxAtomic = uint32(g.atomic / g.blockSize)
	}
	if g.caps.Has(backends.CanUnmap) {
		b.MaxUnmapBlocks, b.MaxUnmapRanges = 1<<32-1, unmapRanges
		b.UnmapGranularity = uint32(g.physical / g.blockSize)
		b.UnmapAlignmentValid = true
	}
	return b
}

// provisioning is VPD page B2h. WRITE SAME unmaps what UNMAP does.
func (u *Unit) provisioning(g *geometry) scsi.Provisioning {
	thin := g.caps.Has(backends.CanUnmap)
	v := scsi.Provisioning{Unmap: thin, WriteSame16: thin, WriteSame10: thin}
	if thin {
		v.Type = scsi.ProvisioningThin
		if g.caps.Has(backends.UnmapZeroes) {
			v.ReadZeros = 1
		}
	}
	return v
}

// designators are VPD page 83h: the unit, the port that it is seen through, and
// the target.
func (l *link) designators() []scsi.Designator {
	p := l.n.port
	name := l.n.t.cfg.Name
	return []scsi.Designator{
		l.u.naa(),
		scsi.T10Designator(l.u.cfg.Vendor, l.u.cfg.Serial),
		scsi.PortDesignator(scsi.DesignatorRelativePort, p.Relative),
		scsi.PortDesignator(scsi.DesignatorPortGroup, p.Group),
		p.name(name),
		scsi.NameDesignator(scsi.OfDevice, name),
	}
}

// name is the port's, in the target.
func (p Port) name(target string) scsi.Designator {
	return scsi.NameDesignator(scsi.OfPort, fmt.Sprintf("%s,t,0x%04x", target, p.PortalGroupTag))
}

// portNames are the target's ports, as VPD page 88h tells them.
func (t *Target) portNames() (list []scsi.PortNames) {
	for _, p := range t.cfg.Ports {
		list = append(list, scsi.PortNames{Relative: p.Relative, List: []scsi.Designator{p.name(t.cfg.Name)}})
	}
	return list
}

// naaOUI is a locally administered company identifier: there is no registered
// one. The rest of the NAA designator, 100 bits, comes from the disk's UUID.
const naaOUI = 0x025047

func (u *Unit) naa() scsi.Designator {
	sum := sha256.Sum256(u.cfg.UUID[:])
	vendor := binary.BigEndian.Uint64(sum[:]) >> 28
	return scsi.NAARegistered(naaOUI, vendor, binary.BigEndian.Uint64(sum[8:]))
}

func (c *UnitConfig) fillNames() {
	if c.Vendor == "" {
		c.Vendor = "PATHGATE"
	}
	if c.Product == "" {
		c.Product = "DISK"
	}
	if c.Revision == "" {
		c.Revision = "1"
	}
	if c.Serial == "" {
		c.Serial = hex.EncodeToString(c.UUID[:])
	}
}

// withoutUnit answers a command for a LUN that has no unit: INQUIRY tells so,
// REPORT LUNS and REQUEST SENSE work, all else is 5/25/00 (SPC-4, Incorrect
// logical unit numbers).
func (n *Nexus) withoutUnit(c *Command) {
	raw := (*[16]byte)(&c.CDB)
	var data []byte
	alloc := uint64(0)
	wrong := scsi.CodeLUNotSupported.Sense()
	switch c.CDB.Opcode() {
	case scsi.OpInquiry:
		if q, err := scsi.DecodeInquiry(raw); err != nil || q.VPD || q.Page != 0 {
			wrong = badField(1, 0)
			break
		}
		data = n.standardInquiry(nil)
	case scsi.OpReportLUNs:
		data, wrong = n.reportLUNs(raw)
	case scsi.OpRequestSense:
		if q, err := scsi.DecodeRequestSense(raw); err == nil && q.Descriptor {
			data = wrong.AppendDescriptor(nil)
		} else {
			data = wrong.AppendFixed(nil)
		}
	default:
	}
	if data == nil {
		c.refuse(wrong)
		return
	}
	_, alloc, _ = c.CDB.Transfer(minBlock)
	c.task.demand.dir = scsi.DataIn
	c.In.AppendBytes(data[:min(uint64(len(data)), alloc)])
	c.account()
}

const minBlock = 512

// checkReportLUNs reads REPORT LUNS.
func checkReportLUNs(t *task) scsi.Sense {
	if _, wrong := reportSelect(t.raw()); wrong.Key != scsi.NoSense {
		return wrong
	}
	return checkAllocation(t)
}

func reportSelect(raw *[16]byte) (scsi.ReportLUNs, scsi.Sense) {
	c, err := scsi.DecodeReportLUNs(raw)
	switch {
	case err != nil, c.Select > scsi.SelectAll:
		return c, badField(2, scsi.NoBit)
	}
	return c, scsi.Sense{}
}

// reportLUNs makes the data of REPORT LUNS; nil: the sense tells why not. It ends
// the unit attention 3F/0E on every unit.
func (n *Nexus) reportLUNs(raw *[16]byte) ([]byte, scsi.Sense) {
	c, wrong := reportSelect(raw)
	if wrong.Key != scsi.NoSense {
		return nil, wrong
	}
	var fields []scsi.LUNField
	for _, l := range *n.links.Load() {
		l.u.mu.Lock()
		l.attention.drop(scsi.CodeReportedLUNsChanged)
		l.u.mu.Unlock()
		if c.Select != scsi.SelectWellKnown {
			fields = append(fields, l.lun.Field())
		}
	}
	return scsi.AppendLUNList(nil, fields), scsi.Sense{}
}

// reportLUNs is REPORT LUNS.
func reportLUNs(b *backends.Batch, t *task) {
	data, _ := t.l.n.reportLUNs(t.raw())
	t.reply(data)
	t.finish(b, backends.Done())
}
