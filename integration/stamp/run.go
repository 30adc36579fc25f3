// SPDX-License-Identifier: Apache-2.0

package stamp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// Target is a disk under test. Methods are called concurrently. After an error
// of WriteAt the data may be there, or come later. A target with the method
// WriteFUA(p, off) gets FUA writes too.
type Target interface {
	io.ReaderAt
	io.WriterAt
	Flush() error
}

type fuaWriter interface {
	WriteFUA(p []byte, off int64) (int, error)
}

// Config of a run. Zero values mean the defaults.
type Config struct {
	Size     int64         // bytes of the disk that are used, from offset 0; required, a multiple of 512
	Writers  int           // 8
	Depth    int           // requests in flight per writer; 4
	Duration time.Duration // 0 = until Ops or the end of ctx
	Ops      int64         // reads and writes in all; 0 = no limit
	MinIO    int           // bytes; 512. Set 4096 for disks with such blocks
	MaxIO    int           // bytes; 256 KiB
	Reads    int           // per cent of the requests; 40, -1 = none
	FUA      int           // per cent of the writes; 0
	Flushes  int           // per cent of the requests that a flush follows; 0
	Seed     uint64        // of the choice of requests; equal seeds, equal requests per writer
	Journal  io.Writer     // nil = in memory only
	// ErrorPause keeps a writer from spinning on a disk that fails; 10 ms.
	ErrorPause time.Duration
	// Atomic: the target promises that reads and writes of one sector exclude
	// each other, so a sector read in the middle of a write is torn. Without it
	// such sectors are counted as Races (targets that serve files do this).
	Atomic bool
	// NoFill leaves out the first pass that writes every sector once.
	NoFill bool
}

func (c *Config) defaults() error {
	set := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	set(&c.Writers, 8)
	set(&c.Depth, 4)
	set(&c.MinIO, SectorSize)
	set(&c.MaxIO, 256<<10)
	set(&c.Reads, 40)
	if c.ErrorPause == 0 {
		c.ErrorPause = 10 * time.Millisecond
	}
	switch {
	case c.MinIO < 0 || c.MinIO%SectorSize != 0 || c.MaxIO < c.MinIO || c.MaxIO%c.MinIO != 0:
		return fmt.Errorf("stamp: request sizes %d..%d do not fit", c.MinIO, c.MaxIO)
	case c.Size <= 0 || c.Size%int64(c.MinIO) != 0 || c.Size < int64(c.MaxIO):
		return fmt.Errorf("stamp: size %d must be a multiple of %d and at least %d", c.Size, c.MinIO, c.MaxIO)
	case c.Writers < 0 || c.Depth < 0 || c.Reads > 100 || c.FUA > 100 || c.Flushes > 100:
		return errors.New("stamp: writers, depth or a percentage is out of range")
	}
	return nil
}

// Checker is one run and its model. Use New.
type Checker struct {
	cfg   Config
	model *model
	meter *meter
	left  atomic.Int64 // requests still to make, if cfg.Ops is set
}

// New prepares a run; nothing is sent yet.
func New(cfg Config) (*Checker, error) {
	if err := cfg.defaults(); err != nil {
		return nil, err
	}
	run := rand.Uint64() | 1 // different on every run, or old contents could pass for new
	c := &Checker{cfg: cfg, model: newModel(run, uint64(cfg.Size/SectorSize), cfg.Journal)}
	c.model.atomic = cfg.Atomic
	c.meter = newMeter(cfg.Writers)
	c.left.Store(cfg.Ops)
	return c, nil
}

// Run writes and reads until Duration, Ops or the end of ctx, then reads
// everything once more. Writer i uses targets[i % len]. Errors of targets are
// counted in the report; the error of Run means that the run itself was not
// possible. Run waits for the requests in flight. Call it once.
func (c *Checker) Run(ctx context.Context, targets ...Target) (*Report, error) {
	if len(targets) == 0 {
		return nil, errors.New("stamp: no target")
	}
	if err := c.baseline(targets[0]); err != nil {
		return nil, err
	}
	c.meter.start()
	if c.cfg.Duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.cfg.Duration)
		defer cancel()
	}
	var writers sync.WaitGroup
	for i := range c.cfg.Writers {
		for d := range c.cfg.Depth {
			w := &worker{
				Checker: c, target: targets[i%len(targets)], writer: uint32(i + 1),
				rand: rand.New(rand.NewPCG(c.cfg.Seed, uint64(i)<<32|uint64(d))), buf: make([]byte, c.cfg.MaxIO),
			}
			writers.Go(func() { w.run(ctx, d) })
		}
	}
	writers.Wait()
	c.meter.stop()
	if err := targets[0].Flush(); err != nil {
		c.meter.failed("last flush", err)
	}
	c.sweep(targets[0])
	return c.report(), c.model.logErr
}

// baseline learns what the disk holds, so that stale contents of an earlier
// life are known from new ones.
func (c *Checker) baseline(t io.ReaderAt) error {
	return c.each(func(off int64, b []byte) error {
		if _, err := t.ReadAt(b, off); err != nil {
			return fmt.Errorf("stamp: read the disk before the run: %w", err)
		}
		c.model.setInitial(uint64(off/SectorSize), b)
		return nil
	})
}

func (c *Checker) each(do func(off int64, b []byte) error) error {
	buf := make([]byte, c.cfg.MaxIO)
	for off := int64(0); off < c.cfg.Size; off += int64(len(buf)) {
		if err := do(off, buf[:min(int64(len(buf)), c.cfg.Size-off)]); err != nil {
			return err
		}
	}
	return nil
}

// sweep reads and judges the whole region.
func (c *Checker) sweep(t io.ReaderAt) {
	_ = c.each(func(off int64, b []byte) error {
		_ = c.read(t, off, b) // the meter has its error; the sweep goes on
		return nil
	})
}

func (c *Checker) read(t io.ReaderAt, off int64, b []byte) error {
	r := c.model.beginRead(uint64(off/SectorSize), uint64(len(b)/SectorSize))
	n, err := t.ReadAt(b, off)
	if n == len(b) && errors.Is(err, io.EOF) { // io.ReaderAt allows it at the end
		err = nil
	}
	if err != nil {
		c.model.endRead(r, nil)
		c.meter.failed(fmt.Sprintf("read %d at %d", len(b), off), err)
		return err
	}
	c.meter.violated(c.model.endRead(r, b))
	return nil
}

// Verify reads and judges the whole region through t, usually the backing file
// after the run. It may be called at any time, also more than once.
func (c *Checker) Verify(t io.ReaderAt) ([]Violation, error) {
	return verify(c.model, t, c.cfg.MaxIO)
}

func verify(m *model, t io.ReaderAt, chunk int) (bad []Violation, err error) {
	buf := make([]byte, chunk)
	size := int64(len(m.sectors)) * SectorSize
	for off := int64(0); off < size; off += int64(chunk) {
		b := buf[:min(int64(chunk), size-off)]
		r := m.beginRead(uint64(off/SectorSize), uint64(len(b)/SectorSize))
		n, err := t.ReadAt(b, off)
		if err != nil && !(err == io.EOF && n == len(b)) {
			m.endRead(r, nil)
			return bad, fmt.Errorf("stamp: verify: %w", err)
		}
		bad = append(bad, m.endRead(r, b)...)
	}
	return bad, nil
}

// Check judges a disk by a journal, without the run that wrote it.
func Check(journal io.Reader, disk io.ReaderAt) ([]Violation, error) {
	m, err := replay(journal)
	if err != nil {
		return nil, err
	}
	return verify(m, disk, 1<<20)
}
