// SPDX-License-Identifier: Apache-2.0

package scripted

import (
	"net"
	"sync"
	"testing"
	"time"

	wire "pathgate/internal/iscsi"
	"pathgate/internal/scsi"
)

// DefaultName is the name of a target whose Options give none.
const DefaultName = "iqn.2026-11.test:scripted"

// Options say what a target is like at the beginning.
type Options struct {
	// Name is the iSCSI name; "": DefaultName.
	Name string
	// Portals are where it listens; none: one.
	Portals []Portal
	// Units are mapped at all portals.
	Units map[uint16]*Unit
	// Digests has it agree to CRC32C for both digests.
	Digests bool
	// Settings changes what it negotiates; nil: the RFC's defaults with 64 KiB in
	// a data segment.
	Settings func(*wire.Settings)
	// Window is how many commands it admits at once; 0: 64.
	Window uint32
}

// Portal is one address of a target.
type Portal struct {
	// Address is where it listens; "": a free port of 127.0.0.1.
	Address string
	// Tag is its target portal group; 0: 1.
	Tag uint16
	// Group is the target port group (ALUA) that it is in; 0: 1. Port is its
	// relative target port identifier; 0: its place, from 1.
	Group, Port uint16
}

// Target is one target node.
type Target struct {
	name    string
	set     wire.Settings
	portals []*portal
	wg      sync.WaitGroup
	done    chan struct{} // closed by Close

	mu        sync.Mutex
	units     []map[uint16]*Unit // by portal
	scripts   []*Script
	window    uint32
	onLogin   func(Login) LoginAnswer
	onTask    func(Task) TaskAnswer
	onList    func(lun []scsi.LUNField) []byte
	advertise func(portal int) []byte
	tsih      uint16
	stats     []Stats // by portal
}

// New starts a target that ends with the test.
func New(t testing.TB, o Options) *Target {
	t.Helper()
	tg := &Target{name: o.Name, set: wire.DefaultSettings(), window: o.Window, done: make(chan struct{})}
	if tg.name == "" {
		tg.name = DefaultName
	}
	if tg.window == 0 {
		tg.window = 64
	}
	tg.set.MaxRecvDataSegmentLength = 64 << 10
	if o.Digests {
		tg.set.HeaderDigest = []wire.Digest{wire.DigestCRC32C, wire.DigestNone}
		tg.set.DataDigest = tg.set.HeaderDigest
	}
	if o.Settings != nil {
		o.Settings(&tg.set)
	}
	if len(o.Portals) == 0 {
		o.Portals = []Portal{{}}
	}
	for i, p := range o.Portals {
		if p.Address == "" {
			p.Address = "127.0.0.1:0"
		}
		if p.Tag == 0 {
			p.Tag = 1
		}
		if p.Group == 0 {
			p.Group = 1
		}
		if p.Port == 0 {
			p.Port = uint16(i + 1)
		}
		tg.portals = append(tg.portals, &portal{t: tg, index: i, Portal: p, conns: map[*conn]bool{}})
		units := map[uint16]*Unit{}
		for lun, u := range o.Units {
			units[lun] = u
		}
		tg.units = append(tg.units, units)
	}
	tg.stats = make([]Stats, len(tg.portals))
	t.Cleanup(tg.Close)
	for _, p := range tg.portals {
		if err := p.listen(); err != nil {
			t.Fatalf("scripted target: %v", err)
		}
	}
	return tg
}

// Close ends all connections and waits for the target's goroutines. Twice is safe.
func (tg *Target) Close() {
	tg.mu.Lock()
	select {
	case <-tg.done:
	default:
		close(tg.done)
	}
	tg.mu.Unlock()
	for _, p := range tg.portals {
		p.down()
	}
	tg.wg.Wait()
}

// Name is the target's iSCSI name.
func (tg *Target) Name() string { return tg.name }

// Address gives "host:port" of a portal; it stays the same when that goes down.
func (tg *Target) Address(portal int) string { return tg.portals[portal].address() }

// Addresses gives those of all portals.
func (tg *Target) Addresses() (list []string) {
	for i := range tg.portals {
		list = append(list, tg.Address(i))
	}
	return list
}

// Map puts u behind lun at all portals; nil: nothing. Nobody is told.
func (tg *Target) Map(lun uint16, u *Unit) {
	for i := range tg.portals {
		tg.MapAt(i, lun, u)
	}
}

// MapAt puts u behind lun at one portal.
func (tg *Target) MapAt(portal int, lun uint16, u *Unit) {
	tg.mu.Lock()
	defer tg.mu.Unlock()
	if u == nil {
		delete(tg.units[portal], lun)
		return
	}
	tg.units[portal][lun] = u
}

func (tg *Target) unit(portal int, f scsi.LUNField) *Unit {
	lun, err := f.LUN()
	if err != nil {
		return nil
	}
	tg.mu.Lock()
	defer tg.mu.Unlock()
	return tg.units[portal][uint16(lun)]
}

// Window sets how many commands the target admits beyond those that it has, from
// its next answer on. 0 closes the window.
func (tg *Target) Window(n uint32) {
	tg.mu.Lock()
	defer tg.mu.Unlock()
	tg.window = n
}

// ListLUNs replaces the answer to REPORT LUNS; it is given the fields of what is
// mapped. Nil: the truth.
func (tg *Target) ListLUNs(f func(fields []scsi.LUNField) []byte) {
	tg.mu.Lock()
	defer tg.mu.Unlock()
	tg.onList = f
}

// Down closes a portal's port and resets its connections. Up opens it again.
func (tg *Target) Down(portal int) { tg.portals[portal].down() }

// Up opens a portal's port again.
func (tg *Target) Up(t testing.TB, portal int) {
	t.Helper()
	// The port is free again as soon as the kernel has dropped the connections.
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	deadline := time.Now().Add(10 * time.Second)
	for err := tg.portals[portal].listen(); err != nil; err = tg.portals[portal].listen() {
		if time.Now().After(deadline) {
			t.Fatalf("scripted target: %v", err)
		}
		<-tick.C
	}
}

// Cut resets the connections of a portal, and tells how many there were.
func (tg *Target) Cut(portal int) int { return tg.portals[portal].cut() }

// Stop leaves what comes at a portal unread and holds back all answers, until
// Continue: as SIGSTOP does. New connections are accepted, as by the kernel.
func (tg *Target) Stop(portal int) { tg.portals[portal].stop() }

// Continue ends Stop.
func (tg *Target) Continue(portal int) { tg.portals[portal].cont() }

// Sessions counts the sessions of a portal that are in full feature phase.
func (tg *Target) Sessions(portal int) (n int) {
	for _, c := range tg.portals[portal].list() {
		if c.ready() {
			n++
		}
	}
	return n
}

// Async sends m to all sessions of a portal, and tells to how many.
func (tg *Target) Async(portal int, m wire.AsyncMessage, data []byte) (n int) {
	for _, c := range tg.portals[portal].list() {
		if c.ready() {
			c.send(m, data, advance)
			n++
		}
	}
	return n
}

// Raw sends bytes to all sessions of a portal.
func (tg *Target) Raw(portal int, b []byte) {
	for _, c := range tg.portals[portal].list() {
		if c.ready() {
			c.raw(b)
		}
	}
}

// reset closes a connection so that its peer sees RST.
func reset(c net.Conn) {
	if tc, ok := c.(*net.TCPConn); ok {
		_ = tc.SetLinger(0)
	}
	_ = c.Close()
}
