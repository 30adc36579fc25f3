// SPDX-License-Identifier: Apache-2.0

package multipath

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"pathgate/backends"
	"pathgate/internal/scsi"
)

// errNoDisk: there is no logical unit of ours at this LUN.
var errNoDisk = errors.New("no disk")

// errLost: the session went away meanwhile.
var errLost = errors.New("session lost")

// prober asks one LUN questions, one at a time, by the session's Exec.
type prober struct {
	sess    backends.Session
	timeout time.Duration
	out     []byte // parameter list of the commands; most have none
}

const (
	probeAttentions = 6  // unit attentions in a row that are passed over
	probeBusy       = 20 // BUSY answers that are waited out, 50 ms each
	probeBusyWait   = 50 * time.Millisecond
)

// exec sends cdb and waits for its end; at most maxIn bytes come back.
func (q prober) exec(ctx context.Context, cdb [16]byte, maxIn int) ([]byte, error) {
	attentions, busy := 0, 0
	for {
		c := &backends.Command{CDB: cdb, Out: vec(q.out), MaxIn: maxIn, Timeout: q.timeout}
		done := make(chan struct{})
		c.Done = func(*backends.Batch, *backends.Command) { close(done) }
		var b backends.Batch
		q.sess.Exec(&b, c)
		b.Run()
		<-done // the session ends it at the latest by its timeout
		c.Out.Release()
		res := c.Result
		if res.OK() {
			data := append([]byte(nil), c.In.Bytes()...)
			c.In.Release()
			return data, nil
		}
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case res.Class == backends.Transport && res.Sent != backends.SentAnswered:
			return nil, errLost
		case res.Sense.Valid && scsi.SenseKey(res.Sense.Key) == scsi.UnitAttention && attentions < probeAttentions:
			attentions++
		case res.Class == backends.Busy && busy < probeBusy && !ofGroup(res.Sense):
			busy++
			if !sleep(ctx, probeBusyWait) {
				return nil, ctx.Err()
			}
		default:
			cmd := scsi.CDB(cdb)
			return nil, fmt.Errorf("%v: %w", cmd.Opcode(), res.Err())
		}
	}
}

// sleep waits, and tells whether it could.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func (q prober) page(ctx context.Context, page scsi.VPDPage) ([]byte, error) {
	var cdb [16]byte
	const room = 0xff * 16
	scsi.Inquiry{VPD: true, Page: page, AllocationLength: room}.Encode(&cdb)
	return q.exec(ctx, cdb, room)
}

// identify reads who the LUN is. It touches no medium.
func (q prober) identify(ctx context.Context) (f facts, err error) {
	var cdb [16]byte
	const room = 255 // some targets refuse more for standard data
	scsi.Inquiry{AllocationLength: room}.Encode(&cdb)
	b, err := q.exec(ctx, cdb, room)
	if err != nil {
		return f, err
	}
	std, err := scsi.DecodeStandardInquiry(b)
	if err != nil {
		return f, err
	}
	if std.Peripheral.Qualifier() != 0 || std.Peripheral.DeviceType() != 0 {
		return f, errNoDisk
	}
	f.vendor, f.product, f.revision = std.Vendor, std.Product, std.Revision
	f.implicit, f.explicit = std.PortGroupAccess&scsi.ALUAImplicit != 0, std.PortGroupAccess&scsi.ALUAExplicit != 0
	if b, err = q.page(ctx, scsi.PageSerialNumber); err == nil {
		f.serial, err = scsi.DecodeSerialNumber(b)
	}
	if errors.Is(err, errLost) || ctx.Err() != nil {
		return f, err
	}
	var list []scsi.Designator
	if b, err = q.page(ctx, scsi.PageIdentification); err == nil {
		list, err = scsi.DecodeDesignators(nil, b)
	}
	if errors.Is(err, errLost) || ctx.Err() != nil {
		return f, err
	}
	if f.identity, err = scsi.SelectIdentity(list, std, f.serial); err != nil {
		return f, err
	}
	if f.implicit || f.explicit {
		f.port, f.group, f.hasPort, f.hasGroup = scsi.PortOf(list)
	}
	if f.hasGroup {
		f.report, err = q.portGroups(ctx)
	}
	return f, err
}

// portGroups reads the states of the port groups. A target that claims ALUA and
// does not answer counts as optimized.
func (q prober) portGroups(ctx context.Context) (r groupReport, err error) {
	for _, extended := range [...]bool{true, false} {
		var cdb [16]byte
		scsi.ReportPortGroups{Extended: extended, AllocationLength: portGroupRoom}.Encode(&cdb)
		r.sent = time.Now()
		b, err := q.exec(ctx, cdb, portGroupRoom)
		if errors.Is(err, errLost) || ctx.Err() != nil {
			return r, err
		}
		if err != nil {
			continue
		}
		if r.groups, r.transition, err = scsi.DecodePortGroups(b); err != nil {
			r.groups = nil
		}
		return r, nil
	}
	return r, nil
}

// measure reads size, limits and cache. It touches no medium. What a target does
// not tell stays zero, but for the capacity.
func (q prober) measure(ctx context.Context, f *facts) error {
	c, err := q.capacity(ctx)
	if err != nil {
		return err
	}
	if err := c.Validate(); err != nil {
		return err
	}
	f.size, f.block, f.physical = c.Bytes(), c.BlockSize, min(c.BlockSize<<min(c.PhysicalExponent, 8), 1<<20)
	if b, err := q.page(ctx, scsi.PageBlockLimits); err == nil {
		if l, err := scsi.DecodeBlockLimits(b); err == nil {
			f.maxBlocks, f.optimal, f.compare = l.MaxTransfer, l.OptimalTransfer, l.MaxCompareAndWrite
			f.maxUnmap = l.MaxUnmapBlocks
			f.writeSame, f.maxZeroes = l.MaxWriteSame > 0, l.MaxWriteSame
		}
	}
	if b, err := q.page(ctx, scsi.PageCharacteristics); err == nil {
		if c, err := scsi.DecodeCharacteristics(b); err == nil {
			f.rotational = c.RotationRate > scsi.NotRotating
		}
	}
	if b, err := q.page(ctx, scsi.PageProvisioning); err == nil && c.Provisioned {
		if v, err := scsi.DecodeProvisioning(b); err == nil {
			f.unmap = v.Unmap && f.maxUnmap > 0
			f.writeSame = f.writeSame || v.WriteSame16
			f.unmapZeroes = f.unmap && c.ReadZeros
			f.unmapSame = v.WriteSame16 && c.ReadZeros
			f.status = true
		}
	}
	q.cache(ctx, f)
	if f.product == "GOTGT" {
		// gotgt answers UNMAP and WRITE SAME with GOOD and does nothing.
		f.unmap, f.writeSame, f.unmapZeroes, f.unmapSame, f.status = false, false, false, false, false
	}
	return ctx.Err()
}

// capacity asks READ CAPACITY(16), and (10) where that is not known.
func (q prober) capacity(ctx context.Context) (scsi.Capacity, error) {
	var cdb [16]byte
	const room = 32
	scsi.ReadCapacity16{AllocationLength: room}.Encode(&cdb)
	b, err := q.exec(ctx, cdb, room)
	if err == nil {
		return scsi.DecodeCapacity16(b)
	}
	if errors.Is(err, errLost) || ctx.Err() != nil {
		return scsi.Capacity{}, err
	}
	scsi.ReadCapacity10{}.Encode(&cdb)
	b, err2 := q.exec(ctx, cdb, 8)
	if err2 != nil {
		return scsi.Capacity{}, err
	}
	c, more, err2 := scsi.DecodeCapacity10(b)
	if err2 != nil || more {
		return scsi.Capacity{}, errors.Join(err, err2)
	}
	return c, nil
}

// cache reads the caching mode page, and DPOFUA and WP of the header.
func (q prober) cache(ctx context.Context, f *facts) {
	for _, size := range [...]int{6, 10} {
		var cdb [16]byte
		const room = 255
		scsi.ModeSense{Size: size, NoBlockDescriptors: true, Page: scsi.CachingMode, AllocationLength: room}.Encode(&cdb)
		b, err := q.exec(ctx, cdb, room)
		if err != nil {
			continue
		}
		m, err := scsi.DecodeModeData(b, size)
		if err != nil {
			continue
		}
		f.fua, f.protected = m.DPOFUA, m.WriteProtected
		if page := m.Page(scsi.CachingMode, 0); page != nil {
			if c, err := scsi.DecodeCachingPage(page); err == nil {
				f.cacheKnown, f.cache = true, c.WriteCache
			}
		}
		return
	}
}

// testRead reads a block, before a path that has failed is used again.
func (q prober) testRead(ctx context.Context, f *facts, block uint64) error {
	var cdb [16]byte
	scsi.ReadWrite{LBA: block, Blocks: 1}.Encode(&cdb)
	_, err := q.exec(ctx, cdb, int(f.block))
	return err
}

// luns lists the LUNs in range: by REPORT LUNS, or all, to be tried one by one
// (the patent, par. 0083).
func (q prober) luns(ctx context.Context, first, last uint16) ([]uint16, error) {
	var cdb [16]byte
	const room = 8 + 8*4096
	scsi.ReportLUNs{Select: scsi.SelectAddressable, AllocationLength: room}.Encode(&cdb)
	b, err := q.exec(ctx, cdb, room)
	if errors.Is(err, errLost) || ctx.Err() != nil {
		return nil, err
	}
	var out []uint16
	if err == nil {
		list, err := scsi.DecodeLUNList(b, math.MaxUint16)
		if err == nil {
			for _, l := range list.LUNs {
				if uint16(l.LUN) >= first && uint16(l.LUN) <= last {
					out = append(out, uint16(l.LUN))
				}
			}
			return out, nil
		}
	}
	for l := int(first); l <= int(last); l++ {
		out = append(out, uint16(l))
	}
	return out, nil
}
