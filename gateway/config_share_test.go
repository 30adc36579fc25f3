// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pathgate/share"
)

// TestShareKeys: every key reaches the field that it is for.
func TestShareKeys(t *testing.T) {
	c := mustParse(t, string(must[[]byte](t)(os.ReadFile("testdata/config/shares.yaml"))))
	wantGroups := []GroupConfig{
		{Name: "databases", Shares: 2000, Limits: share.Limits{Total: share.Ceiling{
			Rate: share.Rate{Ops: 5000, Bytes: 400_000_000}, Burst: share.Rate{Ops: 10000, Bytes: 1 << 30},
		}}},
		{Name: "batch"},
	}
	if diff := cmp.Diff(wantGroups, c.Groups); diff != "" {
		t.Error(diff)
	}
	const ms = time.Millisecond
	wantSettings := share.Settings{
		Mode: share.Strict, UnitBytes: 8192, OpsBytes: 65536, CostModel: share.CostCalibrated,
		Calibration: share.Calibration{
			MaxIOPS: 100000, RandomRead: share.ClassCost{IOPS: 90000, UnitBytes: 16384},
			SequentialRead:  share.ClassCost{IOPS: 100000, UnitBytes: 65536},
			RandomWrite:     share.ClassCost{IOPS: 30000, UnitBytes: 8192},
			SequentialWrite: share.ClassCost{IOPS: 60000, UnitBytes: 32768},
		},
		Quantum: 16, QuantumBytes: 2 << 20, SequentialGap: 8, Window: 50 * ms, FloorInterval: 0,
		ReserveAhead: 10 * ms, LimitSlop: ms, IdleCreditMax: 4096, Depth: 0, DepthStart: 32, DepthMin: 2, DepthMax: 256,
		LatencyTarget: 750 * time.Microsecond, DepthGain: 0.5, DepthGrowth: 0.01, Capacity: 50000,
		CapacityModel: share.CapacityShared, PlanPeriod: 20 * ms, OverMargin: 10, PriorityMode: share.PriorityAlways,
		TierKeep: 20, DegradedBelow: 75, ExplainRing: 0,
	}
	r := c.LUNRuleFor("db")
	if diff := cmp.Diff(SchedulerConfig{true, wantSettings}, r.Scheduler); diff != "" {
		t.Error(diff)
	}
	if r.QueueCommands != 4096 || r.QueueBytes != 1<<30 {
		t.Errorf("queue %d, %v", r.QueueCommands, r.QueueBytes)
	}
	want := DiskShare{
		Shares: 100000, Reservation: share.Rate{Ops: 200, Bytes: 20_000_000},
		Limits: share.Limits{
			Total: share.Ceiling{Rate: share.Rate{Ops: 500, Bytes: 100 << 20}, Peak: share.Rate{Ops: 2000}, PeakLength: time.Minute},
			Read:  share.Ceiling{Rate: share.Rate{Ops: 400}, Burst: share.Rate{Ops: 100}},
			Write: share.Ceiling{Rate: share.Rate{Bytes: 50_000_000}, Peak: share.Rate{Bytes: 80_000_000}},
		},
		Group: "databases", IdleCredit: 64, QueueCommands: 65536, QueueBytes: 4 << 30,
	}
	if diff := cmp.Diff(want, c.VMs[0].Disks[0].Share); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(DiskShare{Shares: 0, Group: "batch"}, c.VMs[0].Disks[2].Share); diff != "" {
		t.Error(diff)
	}
	if got := c.LUNRuleFor("file:/var/lib/x").Scheduler; got.Settings.Depth != 64 || got.Settings.LatencyTarget != 0 {
		t.Errorf("a file's rule gives %+v", got)
	}
	if c.LUNRuleFor("file:/tmp/x").Scheduler.Enabled {
		t.Error("the rule for other files is not used")
	}
	if s := c.LUNRuleFor("naa.1").Scheduler.Settings; s.DepthMax != 32 || s.DepthStart != 32 {
		t.Errorf("depth-max 32 leaves a start of %d", s.DepthStart)
	}
}

// TestSchedulerKeysAreComplete: no field of share.Settings lacks a key.
func TestSchedulerKeysAreComplete(t *testing.T) {
	c := mustParse(t, "luns: [{id: a, scheduler: {}}]")
	if diff := cmp.Diff(defaultScheduler(), c.LUNs[0].Scheduler); diff != "" {
		t.Error(diff)
	}
	for _, key := range schedulerKeys() {
		_, err := Parse("t.yaml", []byte("luns: [{id: a, scheduler: {"+key+": []}}]"))
		if err == nil || !strings.Contains(err.Error(), "luns[0].scheduler."+key+":") {
			t.Errorf("%s: [] gives %v", key, err)
		}
	}
}

func TestParseByteRate(t *testing.T) {
	for in, want := range map[string]int64{
		"0": 0, "4096": 4096, "4096B/s": 4096, "20MB/s": 20e6, "20 MB/s": 20e6, "20MB": 20e6, "1GiB/s": 1 << 30, "64KiB": 65536,
		"5kB/s": 5000, "5KB/s": 5000, "2TB/s": 2e12, "9223372036854775807": 9223372036854775807,
	} {
		if got, err := ParseByteRate(in); err != nil || got != want {
			t.Errorf("%s: %d, %v; want %d", in, got, err, want)
		}
	}
	for in, want := range map[string]error{
		"": errRate, "B/s": errRate, "5M": errRate, "5Mbit/s": errRate, "5mB": errRate, "5kiB": errRate, "5 XB": errRate,
		"1.5MB": errRate, "-1": errSizeSign, "9223372036854775808": errOutOfRange, "9223372037GB": errOutOfRange, "5MB/h": errRate,
	} {
		if got, err := ParseByteRate(in); err != want {
			t.Errorf("%q: %d, %v; want %v", in, got, err, want)
		}
	}
}

func TestParseShares(t *testing.T) {
	for in, want := range map[string]uint32{"low": 500, "normal": 1000, "high": 2000, "0": 0, "7": 7} {
		if got, err := ParseShares(in); err != nil || got != want {
			t.Errorf("%s: %d, %v; want %d", in, got, err, want)
		}
	}
	for in, want := range map[string]error{"": errWhole, "High": errWhole, "-1": errOutOfRange, "4294967296": errOutOfRange, "1e99": errWhole} {
		if _, err := ParseShares(in); err != want {
			t.Errorf("%q: %v, want %v", in, err, want)
		}
	}
}

// TestShareDocument: docs/shares.md tells of every key, and its example is right.
func TestShareDocument(t *testing.T) {
	text := string(must[[]byte](t)(os.ReadFile("../docs/shares.md")))
	_, rest, _ := strings.Cut(text, "```yaml\n")
	example, tables, ok := strings.Cut(rest, "```\n")
	if !ok {
		t.Fatal("no example")
	}
	c := mustParse(t, example)
	if s := c.VMs[0].Disks[0].Share; s.Shares != 4000 || s.Limits.Read.Burst.Bytes != 1<<30 || s.Limits.Total.PeakLength != time.Minute {
		t.Errorf("the example gives %+v", s)
	}
	for _, key := range append(schedulerKeys(), diskShareKeys()...) {
		if !strings.Contains(tables, "`"+key+"`") {
			t.Errorf("no table has %s", key)
		}
	}
}
