// SPDX-License-Identifier: Apache-2.0

package stamp

import (
	"context"
	"math/rand/v2"
	"time"
)

// worker is one of the requests in flight of a writer.
type worker struct {
	*Checker
	target Target
	writer uint32
	rand   *rand.Rand
	buf    []byte
}

func (w *worker) run(ctx context.Context, slot int) {
	if !w.cfg.NoFill {
		w.fill(ctx, slot)
	}
	for ctx.Err() == nil && (w.cfg.Ops == 0 || w.left.Add(-1) >= 0) {
		err := w.one()
		if err == nil {
			continue
		}
		select {
		case <-time.After(w.cfg.ErrorPause):
		case <-ctx.Done():
		}
	}
}

// fill writes this worker's part of the region once, so that initial contents
// are soon nowhere permissible. The parts of all workers overlap with the
// requests of those that are ready before.
func (w *worker) fill(ctx context.Context, slot int) {
	parts := int64(w.cfg.Writers * w.cfg.Depth)
	part := int64(w.writer-1)*int64(w.cfg.Depth) + int64(slot)
	step := int64(w.cfg.MaxIO)
	for off := part * step; off < w.cfg.Size && ctx.Err() == nil; off += parts * step {
		_ = w.write(off, w.buf[:min(step, w.cfg.Size-off)], false) // the meter has its error
	}
}

// one makes one request and what follows it.
func (w *worker) one() error {
	off, n := w.choose()
	var err error
	if w.rand.IntN(100) < w.cfg.Reads {
		begin := time.Now()
		if err = w.read(w.target, off, w.buf[:n]); err == nil {
			w.meter.done(w.writer, kindRead, n, begin)
		}
	} else {
		err = w.write(off, w.buf[:n], w.rand.IntN(100) < w.cfg.FUA)
	}
	if w.rand.IntN(100) < w.cfg.Flushes {
		begin := time.Now()
		if ferr := w.target.Flush(); ferr != nil {
			w.meter.failed("flush", ferr)
			return ferr
		}
		w.meter.done(w.writer, kindFlush, 0, begin)
	}
	return err
}

// choose picks a range. Small sizes are more frequent, 4 KiB most. Half of the
// requests fall on the first sixteenth of the region, where they collide.
func (w *worker) choose() (off int64, n int) {
	switch w.rand.IntN(4) {
	case 0, 1:
		n = 4096
	case 2:
		n = w.cfg.MinIO * (1 + w.rand.IntN(16))
	default:
		n = w.cfg.MinIO * (1 + w.rand.IntN(w.cfg.MaxIO/w.cfg.MinIO))
	}
	n = min(max(n, w.cfg.MinIO), w.cfg.MaxIO)
	area := w.cfg.Size
	if w.rand.IntN(2) == 0 {
		area = max(w.cfg.Size/16, int64(n))
	}
	unit := int64(w.cfg.MinIO)
	return w.rand.Int64N((area-int64(n))/unit+1) * unit, n
}

func (w *worker) write(off int64, b []byte, fua bool) error {
	put := w.target.WriteAt
	if f, ok := w.target.(fuaWriter); ok && fua {
		put = f.WriteFUA
	}
	lba, count := uint64(off/SectorSize), uint64(len(b)/SectorSize)
	o := w.model.beginWrite(w.writer, lba, count)
	for i := range count {
		Stamp{Run: w.model.run, LBA: lba + i, Writer: w.writer, Seq: o.seq}.Put(b[i*SectorSize:])
	}
	begin := time.Now()
	_, err := put(b, off)
	w.model.endWrite(o, err != nil)
	if err != nil {
		w.meter.failed("write "+o.String(), err)
		return err
	}
	w.meter.done(w.writer, kindWrite, len(b), begin)
	return nil
}
