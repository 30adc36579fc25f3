// SPDX-License-Identifier: Apache-2.0

package stamp

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"
)

// Errors alone are no violation, whether the write had its effect or not.
func TestFailedWritesAreTolerated(t *testing.T) {
	d := newDisk()
	d.onWrite = func(d *disk, n int, p []byte, off int64) (bool, error) {
		switch n % 20 {
		case 3: // without effect
			return true, errInjected
		case 7: // with effect
			copy(d.data[off:], p)
			return true, errInjected
		case 11: // with half of it
			copy(d.data[off:], p[:len(p)/2/SectorSize*SectorSize])
			return true, errInjected
		}
		return false, nil
	}
	_, rep := runOn(t, d, func(c *Config) { c.ErrorPause = time.Microsecond })
	if rep.Violations != 0 || rep.Errors < 100 || len(rep.ErrorList) != maxListed {
		t.Errorf("report %v", rep)
	}
}

// A write that got an error lands later, over an acknowledged one.
func TestGhostOfFailedWriteIsFound(t *testing.T) {
	harmed := 0
	for seed := range uint64(8) {
		d := newDisk()
		var late []byte
		var at int64
		d.onWrite = func(d *disk, n int, p []byte, off int64) (bool, error) {
			switch n {
			case 150:
				late, at = slices.Clone(p), off
				return true, errInjected
			case 450:
				copy(d.data[off:], p)
				// Only where an acknowledged write has come since; the rest is permissible.
				for i := 0; i < len(late); i += SectorSize {
					was, _ := parse(d.right[at+int64(i):], 0)
					now, _ := parse(late[i:], 0)
					if was.Seq > now.Seq {
						copy(d.data[at+int64(i):], late[i:i+SectorSize])
					}
				}
				return true, nil
			}
			return false, nil
		}
		d.onRead = func(d *disk, n int, p []byte, off int64) bool {
			if d.writes < 450 {
				copy(d.right, d.data) // the failed write is right either way
			}
			return false
		}
		_, rep := runOn(t, d, func(c *Config) { c.Seed, c.Reads, c.Writers, c.Depth, c.Ops, c.MaxIO = seed, 60, 1, 1, 1200, 16<<10 })
		if rep.Errors != 1 || d.harmed != (rep.Violations != 0) {
			t.Errorf("seed %d: wrong bytes read: %v; %v", seed, d.harmed, rep)
		}
		if d.harmed {
			harmed++
		}
	}
	if harmed < 2 {
		t.Errorf("only %d of 8 runs were harmed", harmed)
	}
}

func TestJournalJudgesAfterwards(t *testing.T) {
	var journal bytes.Buffer
	d := newDisk()
	copy(d.data[100*SectorSize:], "what was there before")
	_, rep := runOn(t, d, func(c *Config) { c.Journal, c.NoFill, c.Ops = &journal, true, 300 })
	if rep.Violations != 0 {
		t.Fatal(rep)
	}
	check := func(j []byte) []Violation {
		t.Helper()
		bad, err := Check(bytes.NewReader(j), bytes.NewReader(d.data))
		if err != nil {
			t.Fatal(err)
		}
		return bad
	}
	if bad := check(journal.Bytes()); len(bad) != 0 {
		t.Fatalf("a right disk was found wrong: %v", bad)
	}
	whole := journal.Len()
	if bad := check(journal.Bytes()[:whole-entrySize/2]); len(bad) != 0 { // the last record was cut by a crash
		t.Errorf("cut journal: %v", bad)
	}
	// A sector that was written loses its contents.
	lba := slices.IndexFunc(slices.Collect(slices.Chunk(d.data, SectorSize)), func(b []byte) bool {
		_, err := parse(b, 0)
		return err == nil
	})
	clear(d.data[lba*SectorSize : (lba+1)*SectorSize])
	if bad := check(journal.Bytes()); len(bad) != 1 || bad[0].LBA != uint64(lba) || bad[0].Kind != Stale {
		t.Errorf("zeroed LBA %d: %v", lba, bad)
	}
	damaged := bytes.Clone(journal.Bytes())
	damaged[whole/2] ^= 1
	if _, err := Check(bytes.NewReader(damaged), bytes.NewReader(d.data)); err == nil {
		t.Error("a damaged journal was taken")
	}
	if _, err := Check(strings.NewReader(""), bytes.NewReader(d.data)); err == nil {
		t.Error("an empty journal was taken")
	}
}

// The intent is in the journal when the device gets the write.
func TestIntentPrecedesWrite(t *testing.T) {
	var journal bytes.Buffer
	d := newDisk()
	c, err := New(Config{Size: testSize, Writers: 1, Depth: 1, Ops: 50, Reads: -1, MaxIO: 4096, NoFill: true, Journal: &journal})
	if err != nil {
		t.Fatal(err)
	}
	d.onWrite = func(_ *disk, n int, p []byte, off int64) (bool, error) {
		var e entry
		if err := e.decode(journal.Bytes()[journal.Len()-entrySize:]); err != nil {
			t.Error(err)
		}
		if e.kind != recIntent || int64(e.lba)*SectorSize != off || int(e.count)*SectorSize != len(p) {
			t.Errorf("write %d at %d: the journal ends with %+v", n, off, e)
		}
		return false, nil
	}
	if rep, err := c.Run(t.Context(), d); err != nil || rep.Writes.Ops != 50 {
		t.Errorf("%v, %v", rep, err)
	}
}

func TestStallIsMeasured(t *testing.T) {
	d := newDisk()
	d.onWrite = func(_ *disk, n int, p []byte, off int64) (bool, error) {
		if n == 200 {
			<-time.After(60 * time.Millisecond) // with the device locked: everybody stalls
		}
		return false, nil
	}
	_, rep := runOn(t, d, nil)
	if rep.Stall.Gap < 50*time.Millisecond || rep.Writes.Max < 60*time.Millisecond || len(rep.WriterStalls) != 8 {
		t.Errorf("report %v", rep)
	}
	for i, s := range rep.WriterStalls {
		if s.Gap < 50*time.Millisecond {
			t.Errorf("writer %d stalled only %v", i+1, s.Gap)
		}
	}
}

func TestReportFormats(t *testing.T) {
	d := newDisk()
	d.onRead = func(_ *disk, n int, p []byte, off int64) bool { clear(p); p[0] = 1; return n > 30 }
	_, rep := runOn(t, d, func(c *Config) { c.Ops = 200 })
	b, err := rep.JSON()
	if err != nil {
		t.Fatal(err)
	}
	var back struct {
		Violations int64
		List       []struct{ Kind string }
		Kinds      map[string]int
	}
	if err := json.Unmarshal(b, &back); err != nil || back.Violations != rep.Violations || back.List[0].Kind != "corrupt" || len(back.List) != maxListed {
		t.Errorf("JSON %+v (%v)", back, err)
	}
	if s := rep.String(); !strings.Contains(s, "corrupt at LBA") || !strings.Contains(s, "p99.9") || !strings.Contains(s, "expected") {
		t.Errorf("text %s", s)
	}
}

func TestConfigIsChecked(t *testing.T) {
	for _, c := range []Config{{}, {Size: 1000}, {Size: 1 << 20, MinIO: 1000}, {Size: 4096}, {Size: 1 << 20, Reads: 101}, {Size: 1 << 20, MaxIO: 512, MinIO: 4096}} {
		if _, err := New(c); err == nil {
			t.Errorf("%+v was taken", c)
		}
	}
	c, _ := New(Config{Size: 1 << 20})
	if _, err := c.Run(t.Context()); err == nil {
		t.Error("ran without a target")
	}
}

func TestRunEndsWithContext(t *testing.T) {
	c, err := New(Config{Size: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	d := newDisk()
	d.onWrite = func(_ *disk, n int, _ []byte, _ int64) (bool, error) {
		if n == 100 {
			cancel()
		}
		return false, nil
	}
	if rep, err := c.Run(ctx, d); err != nil || rep.Violations != 0 {
		t.Errorf("%v, %v", rep, err)
	}
}

func TestHistogram(t *testing.T) {
	var h histogram
	for i := 1; i <= 1000; i++ {
		h.add(time.Duration(i)*time.Microsecond, 1)
	}
	c := h.class()
	for _, p := range []struct{ got, want time.Duration }{{c.P50, 500e3}, {c.P90, 900e3}, {c.P99, 990e3}, {c.Max, 1e6}} {
		if p.got < p.want || p.got > p.want+p.want/16 {
			t.Errorf("got %v, want %v to 1/16 more", p.got, p.want)
		}
	}
}

func TestScanDisk(t *testing.T) {
	b := make([]byte, 8*SectorSize)
	for i := range uint64(5) {
		Stamp{Run: 1 + i%2, LBA: i, Writer: 1, Seq: 1}.Put(b[i*SectorSize:])
	}
	b[2*SectorSize+100] ^= 1
	Stamp{Run: 1, LBA: 5, Writer: 1, Seq: 1}.Put(b[6*SectorSize:])
	s, err := ScanDisk(bytes.NewReader(b))
	if err != nil || s.Sectors != 8 || s.Stamped != 4 || s.Other != 2 || s.Runs != 2 || len(s.List) != 2 ||
		s.List[0].Kind != Torn || s.List[1].Kind != Misdirected {
		t.Errorf("got %+v, %v", s, err)
	}
}
