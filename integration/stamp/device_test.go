// SPDX-License-Identifier: Apache-2.0

package stamp

import (
	"bytes"
	"errors"
	"slices"
	"sync"
	"testing"
)

var errInjected = errors.New("injected")

// disk is a model device: right by itself, until a test gives it a fault.
type disk struct {
	mu     sync.Mutex
	data   []byte
	right  []byte // what data would be without faults
	harmed bool   // a read has returned other bytes than right
	writes int
	reads  int
	// onWrite and onRead take the place of the right behaviour when they
	// return true. They are called with mu held.
	onWrite func(d *disk, n int, p []byte, off int64) (bool, error)
	onRead  func(d *disk, n int, p []byte, off int64) bool
}

func newDisk() *disk { return &disk{data: make([]byte, testSize), right: make([]byte, testSize)} }

func (d *disk) ReadAt(p []byte, off int64) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.reads++
	if d.onRead == nil || !d.onRead(d, d.reads, p, off) {
		copy(p, d.data[off:])
	}
	d.harmed = d.harmed || !bytes.Equal(p, d.right[off:off+int64(len(p))])
	return len(p), nil
}

func (d *disk) WriteAt(p []byte, off int64) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.writes++
	copy(d.right[off:], p)
	if d.onWrite != nil {
		if done, err := d.onWrite(d, d.writes, p, off); done {
			return 0, err
		}
	}
	return copy(d.data[off:], p), nil
}

func (d *disk) Flush() error { return nil }

const testSize = 1 << 20

func runOn(t *testing.T, d *disk, change func(*Config)) (*Checker, *Report) {
	t.Helper()
	cfg := Config{Size: testSize, Ops: 2000, Seed: 1, MaxIO: 64 << 10, FUA: 10, Flushes: 5}
	if change != nil {
		change(&cfg)
	}
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	rep, err := c.Run(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	return c, rep
}

func TestCleanRunPasses(t *testing.T) {
	for seed := range uint64(3) {
		d := newDisk()
		c, rep := runOn(t, d, func(c *Config) { c.Seed = seed })
		if rep.Violations != 0 || rep.Errors != 0 {
			t.Fatalf("a right disk was found wrong: %v", rep)
		}
		if rep.Reads.Ops+rep.Writes.Ops < 2000 || rep.Flushes.Ops == 0 || rep.Writes.P99 == 0 || rep.Stall.Gap == 0 {
			t.Errorf("report %v", rep)
		}
		if bad, err := c.Verify(d); err != nil || len(bad) != 0 {
			t.Errorf("verify: %v, %v", bad, err)
		}
	}
}

// Every fault below happens once. The device knows whether any read has
// returned wrong bytes since; if so the checker must have found it.
func TestInjectedFaultsAreFound(t *testing.T) {
	const early, when = 150, 450
	type memo struct {
		p   []byte
		off int64
	}
	faults := map[string]struct {
		kinds []ViolationKind // one of these must be found
		set   func(d *disk)
	}{
		"lost write": {[]ViolationKind{Stale}, func(d *disk) {
			d.onWrite = func(d *disk, n int, p []byte, off int64) (bool, error) { return n == when, nil }
		}},
		"torn write": {[]ViolationKind{Torn}, func(d *disk) {
			d.onWrite = func(d *disk, n int, p []byte, off int64) (bool, error) {
				if n == when {
					copy(d.data[off:], p[:len(p)-200])
				}
				return n == when, nil
			}
		}},
		"half a write": {[]ViolationKind{Stale, Ghost}, func(d *disk) {
			d.onWrite = func(d *disk, n int, p []byte, off int64) (bool, error) {
				if n >= when && len(p) > SectorSize && d.onWrite != nil {
					d.onWrite = nil
					copy(d.data[off:], p[:SectorSize])
					return true, nil
				}
				return false, nil
			}
		}},
		"misdirected write": {[]ViolationKind{Misdirected}, func(d *disk) {
			d.onWrite = func(d *disk, n int, p []byte, off int64) (bool, error) {
				if n == when {
					copy(d.data[(off+testSize/2)%(testSize-int64(len(p)))/SectorSize*SectorSize:], p)
				}
				return n == when, nil
			}
		}},
		"stale read": {[]ViolationKind{Stale, Ghost}, func(d *disk) {
			var old []byte
			d.onWrite = func(d *disk, n int, p []byte, off int64) (bool, error) {
				if n == early {
					old = slices.Clone(d.data)
				}
				return false, nil
			}
			d.onRead = func(d *disk, n int, p []byte, off int64) bool {
				if old == nil || d.writes < when/2 || slices.Equal(old[off:off+int64(len(p))], d.data[off:off+int64(len(p))]) {
					return false
				}
				copy(p, old[off:])
				old = nil
				return true
			}
		}},
		"ghost of an acknowledged write": {[]ViolationKind{Stale, Ghost}, func(d *disk) {
			var w *memo
			d.onWrite = func(d *disk, n int, p []byte, off int64) (bool, error) {
				switch {
				case n == early:
					w = &memo{slices.Clone(p), off}
				case n == when: // it lands a second time, over what came since
					copy(d.data[off:], p)
					copy(d.data[w.off:], w.p)
					return true, nil
				}
				return false, nil
			}
		}},
		"bit rot": {[]ViolationKind{Torn}, func(d *disk) {
			d.onWrite = func(d *disk, n int, p []byte, off int64) (bool, error) {
				if n == when {
					copy(d.data[off:], p)
					d.data[off+300] ^= 4
				}
				return n == when, nil
			}
		}},
		"foreign bytes": {[]ViolationKind{Corrupt}, func(d *disk) {
			d.onRead = func(d *disk, n int, p []byte, off int64) bool {
				if n == when {
					for i := range p {
						p[i] = 0xee
					}
				}
				return n == when
			}
		}},
	}
	for name, f := range faults {
		t.Run(name, func(t *testing.T) {
			harmed, named := 0, 0
			for seed := range uint64(9) {
				d := newDisk()
				f.set(d)
				// With one request at a time every wrong byte breaks the history; beside
				// each other, a wrong one may be permissible.
				alone := seed < 8
				_, rep := runOn(t, d, func(c *Config) {
					c.Seed, c.Reads, c.Ops, c.MaxIO = seed, 60, 1200, 16<<10
					if alone {
						c.Writers, c.Depth = 1, 1
					}
				})
				if !d.harmed && rep.Violations != 0 {
					t.Errorf("seed %d: false alarm: %v", seed, rep)
				}
				if !d.harmed || !alone {
					continue
				}
				harmed++
				if rep.Violations == 0 {
					t.Errorf("seed %d: missed", seed)
				}
				if slices.ContainsFunc(rep.List, func(v Violation) bool { return slices.Contains(f.kinds, v.Kind) }) {
					named++
				}
			}
			if harmed < 3 || named*2 <= harmed { // a misdirected write leaves stale sectors too
				t.Errorf("of 8 runs %d were harmed and %d found as %v", harmed, named, f.kinds)
			}
		})
	}
}

// Many writers beside each other hide nothing: what is wrong in the end, when
// all writes are acknowledged, is found.
func TestFaultAtTheEndOfConcurrentRun(t *testing.T) {
	for seed := range uint64(2) {
		d := newDisk()
		c, rep := runOn(t, d, func(c *Config) { c.Seed = seed })
		if rep.Violations != 0 {
			t.Fatal(rep)
		}
		for lba := range testSize / SectorSize {
			b := d.data[lba*SectorSize : (lba+1)*SectorSize]
			keep := slices.Clone(b)
			if lba%2 == 0 {
				b[SectorSize-1] ^= 1
			} else {
				clear(b)
			}
			r := c.model.beginRead(uint64(lba), 1)
			if bad := c.model.endRead(r, b); len(bad) != 1 {
				t.Fatalf("seed %d: LBA %d damaged, found %v", seed, lba, bad)
			}
			copy(b, keep)
		}
	}
}
