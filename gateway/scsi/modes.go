// SPDX-License-Identifier: Apache-2.0

package scsi

import (
	"encoding/binary"

	"pathgate/backends"
	"pathgate/internal/scsi"
)

// modes are the mode parameters that change what the unit does. Guarded by
// Unit.mu.
type modes struct {
	descriptorSense bool // D_SENSE
	writeProtected  bool // SWP
	taskAborted     bool // TAS
	// writeCache: WCE is set if the device has a cache. Without it every write is FUA.
	writeCache bool
}

// Bits of the mode pages that MODE SELECT may change, by the byte in the page.
const (
	controlSense   = 0x04 // byte 2 of the control page: D_SENSE
	controlProtect = 0x08 // byte 4: SWP
	controlAborted = 0x40 // byte 5: TAS
	cachingWrite   = 0x04 // byte 2 of the caching page: WCE
)

// defaultModes are those after a reset; none is kept over one.
func defaultModes() modes { return modes{writeCache: true} }

// cached tells whether a write may be answered before it is on the medium.
func (u *Unit) cached() bool { return u.geometry.Load().cached() }

func (g *geometry) cached() bool { return g.cache != backends.CacheNone }

func (u *Unit) setModesLocked(m modes) {
	u.modes = m
	u.descriptorSense.Store(m.descriptorSense)
	u.writeThrough.Store(!m.writeCache && u.cached())
}

// modePages are the pages that there are, in the order of MODE SENSE.
func modePages() []scsi.ModePage {
	return []scsi.ModePage{scsi.ErrorRecoveryMode, scsi.CachingMode, scsi.ControlMode, scsi.InformationalMode}
}

// appendPage appends a mode page with the values of m; nil for one that there is
// not.
func (u *Unit) appendPage(dst []byte, page scsi.ModePage, m modes) []byte {
	switch page {
	case scsi.ErrorRecoveryMode:
		return append(dst, byte(page), 10, 0xc0, 0, 0, 0, 0, 0, 0, 0, 0, 0) // AWRE, ARRE
	case scsi.CachingMode:
		return scsi.CachingPage{WriteCache: m.writeCache && u.cached()}.Append(dst)
	case scsi.ControlMode:
		return scsi.ControlPage{
			DescriptorSense: m.descriptorSense, QueueAlgorithm: 1, SoftwareWriteProtect: m.writeProtected,
			TaskAborted: m.taskAborted, BusyTimeout: 0xffff,
		}.Append(dst)
	case scsi.InformationalMode:
		return append(dst, byte(page), 10, 0x08, 0, 0, 0, 0, 0, 0, 0, 0, 0) // DEXCPT: no such reports
	default:
		return nil
	}
}

// changeable is the page with the bits that may be changed.
func (u *Unit) changeable(page scsi.ModePage) []byte {
	p := u.appendPage(nil, page, modes{})
	clear(p[2:])
	switch page {
	case scsi.CachingMode:
		if u.cached() {
			p[2] = cachingWrite
		}
	case scsi.ControlMode:
		p[2], p[4], p[5] = controlSense, controlProtect, controlAborted
	default:
	}
	return p
}

// checkModeSense reads MODE SENSE of both sizes.
func checkModeSense(t *task) scsi.Sense {
	c, err := scsi.DecodeModeSense(t.raw())
	switch {
	case err != nil:
		return scsi.CodeInvalidFieldInCDB.Sense()
	case c.Control == scsi.SavedValues:
		return scsi.CodeSavingNotSupported.Sense()
	case c.Subpage != 0 && c.Subpage != scsi.AllModeSubpages: // no page has any
		return badField(3, scsi.NoBit)
	case c.Page != scsi.AllModePages && t.l.u.appendPage(nil, c.Page, modes{}) == nil:
		return badField(2, 5)
	}
	return checkAllocation(t)
}

// modeSense is MODE SENSE of both sizes.
func modeSense(b *backends.Batch, t *task) {
	c, _ := scsi.DecodeModeSense(t.raw())
	u := t.l.u
	u.mu.Lock()
	m := u.modes
	u.mu.Unlock()
	data := scsi.ModeData{WriteProtected: m.writeProtected || t.l.readOnly || u.readOnly(), DPOFUA: true}
	if c.Control == scsi.DefaultValues {
		m = defaultModes()
	}
	for _, page := range modePages() {
		switch {
		case c.Page != scsi.AllModePages && c.Page != page:
		case c.Control == scsi.ChangeableValues:
			data.Pages = append(data.Pages, u.changeable(page)...)
		default:
			data.Pages = u.appendPage(data.Pages, page, m)
		}
	}
	if !c.NoBlockDescriptors {
		data.LongLBA = c.LongLBA
		data.Descriptors = u.blockDescriptor(c.LongLBA)
	}
	t.reply(data.Append(nil, c.Size))
	t.finish(b, backends.Done())
}

// blockDescriptor is the mode parameter block descriptor, short or long.
func (u *Unit) blockDescriptor(long bool) []byte {
	g := u.geometry.Load()
	if long {
		d := binary.BigEndian.AppendUint64(nil, g.blocks)
		return binary.BigEndian.AppendUint64(d, g.blockSize)
	}
	d := binary.BigEndian.AppendUint32(nil, uint32(min(g.blocks, 1<<32-1)))
	return binary.BigEndian.AppendUint32(d, uint32(g.blockSize))
}

// checkModeSelect reads MODE SELECT of both sizes. Nothing is saved.
func checkModeSelect(t *task) scsi.Sense {
	c, err := scsi.DecodeModeSelect(t.raw())
	switch {
	case err != nil:
		return scsi.CodeInvalidFieldInCDB.Sense()
	case c.SavePages:
		return badField(1, 0)
	case !c.PageFormat && c.ParameterListLength > 0:
		return badField(1, 4)
	}
	t.demand.dir, t.demand.length = scsi.DataOut, uint64(c.ParameterListLength)
	return scsi.Sense{}
}

// modeSelect is MODE SELECT of both sizes: all of the list or nothing of it. The
// other nexuses are told by 2A/01.
func modeSelect(b *backends.Batch, t *task) {
	c, _ := scsi.DecodeModeSelect(t.raw())
	u := t.l.u
	var list []byte
	if n := int(t.demand.length); n > 0 {
		list = t.c.Out.Bytes()[:n]
	}
	data, err := scsi.DecodeModeSelectList(list, c.Size)
	if err != nil {
		t.deny(b, scsi.CodeParameterListLength.Sense())
		return
	}
	u.mu.Lock()
	was := u.modes
	m, wrong := u.selected(data)
	if wrong.Key == scsi.NoSense && m != was {
		u.setModesLocked(m)
		for _, l := range u.links {
			if l != t.l {
				l.attention.add(scsi.CodeModeParametersChanged)
			}
		}
	}
	u.mu.Unlock()
	switch {
	case wrong.Key != scsi.NoSense:
		t.deny(b, wrong)
	case was.writeCache && !m.writeCache, !was.writeProtected && m.writeProtected:
		t.begin(b, step{op: backends.Flush}) // what is in the cache goes out first (SBC-3 WCE, SPC-4 SWP)
	default:
		t.finish(b, backends.Done())
	}
}

// selected gives the modes that a parameter list asks for, or why it cannot be.
func (u *Unit) selected(data scsi.ModeData) (modes, scsi.Sense) {
	m := u.modes
	if n := len(data.Descriptors); n > 0 {
		want := u.blockDescriptor(n == 16)
		size := want[len(want)-3:]
		if n != len(want) || string(data.Descriptors[n-3:]) != string(size) {
			return m, badParameter(4) // the block size cannot be changed
		}
	}
	at := 0
	for rest := data.Pages; len(rest) > 0; {
		page := scsi.ModePage(rest[0] & 0x3f)
		now := u.appendPage(nil, page, m)
		if now == nil || rest[0]&0x40 != 0 || len(rest) < len(now) || rest[1] != now[1] {
			return m, badParameter(at)
		}
		mask := u.changeable(page)
		for i := 2; i < len(now); i++ {
			if (rest[i]^now[i])&^mask[i] != 0 {
				return m, badParameter(at + i)
			}
		}
		switch page {
		case scsi.CachingMode:
			if u.cached() { // else the bit says nothing
				m.writeCache = rest[2]&cachingWrite != 0
			}
		case scsi.ControlMode:
			m.descriptorSense = rest[2]&controlSense != 0
			m.writeProtected = rest[4]&controlProtect != 0
			m.taskAborted = rest[5]&controlAborted != 0
		default:
		}
		at += len(now)
		rest = rest[len(now):]
	}
	return m, scsi.Sense{}
}
