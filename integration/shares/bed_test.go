// SPDX-License-Identifier: Apache-2.0

//go:build integration

package shares

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pathgate/integration/gate"
	"pathgate/integration/proxy"
	"pathgate/integration/tgtd"
)

const (
	mib = 1 << 20
	// partSize is the part of the LUN that a VM's disk is.
	partSize = 16 * mib
	iqn      = "iqn.2026-11.test:shares"
)

// bed is `pathgate serve` with a LUN of a tgtd over two paths, each through a proxy of
// its own, and a disk "root" on it for each member.
type bed struct {
	t       testing.TB
	clock   *Clock
	tgts    []*tgtd.Server
	proxies []*proxy.Proxy
	g       *gate.Gate
	vms     []member
	perRead float64 // bytes that a proxy carries for a command of 4 KiB
	rate    int64   // commands per second that it carries, of each path
	seed    uint64
}

// bedOptions are what tests vary.
type bedOptions struct {
	rate      int64    // of a path, commands of 4 KiB per second
	scheduler []string // keys of `scheduler:`
	processes int      // 2: two tgtd processes with a portal each, for one with two
}

// newBed starts targets, proxies and gateway, and waits until both paths are used.
func newBed(t testing.TB, o bedOptions, members ...member) *bed {
	t.Helper()
	hurryOnce()
	dir, err := os.MkdirTemp("/dev/shm", "shares-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	b := &bed{t: t, clock: newClock(t), vms: members, rate: o.rate}
	n := max(o.processes, 1)
	for range n {
		s := tgtd.New(t, tgtd.Options{
			Portals: []string{"127.0.0.1:0", "127.0.0.1:0"}[:2/n],
			Targets: []tgtd.Target{{Name: iqn, LUNs: []tgtd.LUN{{
				File: filepath.Join(dir, "lun"), SizeBytes: int64(len(members)) * partSize,
				SCSIID: "pathgate-shares-1", SCSISN: "shares1",
			}}}},
		})
		b.tgts = append(b.tgts, s)
		for _, portal := range s.Portals() {
			b.proxies = append(b.proxies, proxy.MustNew(t, proxy.Options{Target: portal, Protocol: proxy.ISCSI, Seed: 1}))
		}
	}
	b.g = gate.Make(t, gate.Config{})
	if err := os.WriteFile(b.g.Path("config.yaml"), []byte(b.config(o.scheduler)), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := b.g.Start(); err != nil {
		t.Fatal(err)
	}
	b.settle()
	b.calibrate()
	return b
}

// config is the gateway's configuration.
func (b *bed) config(scheduler []string) string {
	var s strings.Builder
	p := func(format string, a ...any) { fmt.Fprintf(&s, format+"\n", a...) }
	p("state: %s\ncontrol: unix:%s\ninitiator: iqn.2026-11.test:gate", b.g.Path("state"), b.g.Path("control.sock"))
	p("adapters: [{name: vmhba0, address: 127.0.0.1}]")
	p("targets: [{portals: [%q, %q]}]", b.proxies[0].Addr(), b.proxies[1].Addr())
	p("luns:\n  - id: \"*\"\n    all-paths-down: queue\n    cache: protected\n    scheduler: {%s}", strings.Join(scheduler, ", "))
	p("vms:")
	for i, m := range b.vms {
		p("  - name: %s\n    priority: %d\n    disks:", m.vm, m.Priority)
		p("      - {name: root, lun: \"vmhba0:0:1\", offset: %dMiB, size: %dMiB, shares: %d, reservation: {iops: %d}, limit: {iops: %d}}",
			i*partSize/mib, partSize/mib, m.Weight, m.Reservation.Ops, m.Limits.Total.Rate.Ops)
	}
	p("nbd: {listen: [\"unix:%s\"]}", b.g.Path("nbd.sock"))
	p("timeouts: {failback: 200ms}")
	return s.String()
}

// settle waits until both paths are used and all disks are there.
func (b *bed) settle() {
	b.t.Helper()
	b.g.WaitUp(b.t, 2, 30*time.Second)
	b.g.WaitDisks(b.t, 10*time.Second, func(ds []gate.Disk) bool {
		return len(ds) == len(b.vms) && !slices.ContainsFunc(ds, func(d gate.Disk) bool { return !d.Available })
	})
}

// calibrate learns how many bytes the target sends for a command of 4 KiB, and then
// has each proxy carry so many per second.
func (b *bed) calibrate() {
	b.t.Helper()
	const reads = 100
	carried := func() (bytes, commands int64) {
		for _, p := range b.proxies {
			c := p.Counters()
			bytes += c.ToClient.Bytes
			commands += c.PDUs(proxy.SCSICommand)
		}
		return bytes, commands
	}
	bytes, commands := carried()
	c := b.g.Connect(b.t, b.vms[0].vm+"/root")
	for i := range int64(reads) {
		if _, err := c.ReadAt(make([]byte, 4096), i*4096); err != nil {
			b.t.Fatal(err)
		}
	}
	if err := c.Close(); err != nil {
		b.t.Error(err)
	}
	moreBytes, moreCommands := carried()
	if moreCommands-commands < reads {
		b.t.Fatalf("%d reads went as %d commands", reads, moreCommands-commands)
	}
	b.perRead = float64(moreBytes-bytes) / float64(moreCommands-commands)
	for i := range b.proxies {
		b.limit(i, b.rate)
	}
}

// limit has a path carry so many commands of 4 KiB per second.
func (b *bed) limit(path int, rate int64) {
	b.proxies[path].MustSet(proxy.Fault{Kind: proxy.Rate, Dir: proxy.ToClient, BytesPerSecond: int64(float64(rate) * b.perRead)})
}

// kill ends path 1 and keeps it from coming back. It returns a mark of the events
// before.
func (b *bed) kill() (mark int) {
	b.t.Helper()
	mark = b.g.Events.Mark()
	b.proxies[1].MustSet(proxy.Fault{Kind: proxy.Refuse})
	if b.proxies[1].ResetConns() == 0 {
		b.t.Fatal("path 1 has no connection that could be killed")
	}
	return mark
}

// revive lets path 1 come back, and waits until it is used.
func (b *bed) revive() {
	b.t.Helper()
	b.proxies[1].Clear(proxy.Refuse)
	b.settle()
}

// load starts a load of a member, on the first part of its disk.
func (b *bed) load(vm string, job Job) *Load {
	b.t.Helper()
	b.seed++
	job.Addr, job.Export, job.Seed = b.g.NBD(), vm+"/root", cmp.Or(job.Seed, b.seed)
	return start(b.t, b.clock, job)
}

// closed starts a closed loop of each member, deep enough to fill its part of the
// window whatever its way there and back takes.
func (b *bed) closed() (list []*Load) {
	b.t.Helper()
	for _, m := range b.vms {
		list = append(list, b.load(m.vm, Job{Depth: 64}))
	}
	return list
}

func (b *bed) expect(what string, length time.Duration, wants ...Want) {
	b.t.Helper()
	expect(b.t, b.clock, what, length, wants...)
}

// each makes what loads are to get, in the order of the members.
func (b *bed) each(loads []*Load, rates ...float64) (wants []Want) {
	for i, l := range loads {
		wants = append(wants, Want{Name: b.vms[i].vm, Load: l, Rate: rates[i]})
	}
	return wants
}

func (b *bed) warm() { b.clock.Sleep(b.clock.Now() + warmUp) }

// scheduler are the keys of a row's capacity over both paths and its window, with what
// else it has.
func scheduler(capacity int64, more ...string) []string {
	return append([]string{"capacity: " + strconv.FormatInt(capacity, 10), "depth: 40", "explain-ring: 8192"}, more...)
}

// The objects of the control API, with the fields that tests look at.
type (
	// shareRow is an element of `share list -o json`.
	shareRow struct {
		VM, LUN    string
		Disks      []string
		Configured shareSettings
		Effective  *struct {
			shareSettings
			Weight        uint32
			ReservationCU float64 `json:"reservation_cu"`
			LimitCU       float64 `json:"limit_cu"`
		}
		Active      bool
		EntitledCU  float64 `json:"entitled_cu"`
		UsedCU      float64 `json:"used_cu"`
		Over        bool
		Queued      int
		Why         *decision
		Reservation string
	}
	shareSettings struct {
		Shares      uint32
		Priority    uint8
		ReserveIOPS int64 `json:"reserve_iops"`
		Limit       struct{ IOPS int64 }
	}
	// decision is an element of `explain -o json`.
	decision struct {
		Seq             uint64
		Time            time.Time
		Source          string
		VM, LUN         string
		Verdict, Reason string
		Held            bool
		UsedPercent     float64 `json:"used_percent"`
		EntitledPercent float64 `json:"entitled_percent"`
		InflightCU      int64   `json:"inflight_cu"`
		DepthCU         int64   `json:"depth_cu"`
		CapacityCU      int64   `json:"capacity_cu"`
	}
)

// cli runs a command and decodes what it prints.
func cli[T any](b *bed, args ...string) (v T) {
	b.t.Helper()
	out := b.g.MustCLI(b.t, append(args, "-o", "json")...)
	if err := json.Unmarshal([]byte(out), &v); err != nil {
		b.t.Fatalf("pathgate %s: %v in %s", strings.Join(args, " "), err, out)
	}
	return v
}

// shares gives `share list`, by VM.
func (b *bed) shares() map[string]shareRow {
	b.t.Helper()
	rows := map[string]shareRow{}
	for _, r := range cli[[]shareRow](b, "share", "list") {
		rows[r.VM] = r
	}
	if len(rows) != len(b.vms) {
		b.t.Fatalf("share list has %d rows, want one for each of %d VMs", len(rows), len(b.vms))
	}
	return rows
}

// decisions gives the newest decisions about a VM, oldest first.
func (b *bed) decisions(vm string) []decision {
	b.t.Helper()
	return cli[[]decision](b, "explain", vm, "--last", "2000")
}
