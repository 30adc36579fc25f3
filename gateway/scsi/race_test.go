// SPDX-License-Identifier: Apache-2.0

package scsi

import (
	"sync"
	"testing"

	"pathgate/backends"
	"pathgate/internal/scsi"
)

// TestB28Races: units come and go and nexuses open and close while commands run,
// are aborted and complete and the medium is erased; every command that is let in
// ends once, and every Remove and Close is answered.
func TestB28Races(t *testing.T) { raceUnits(t, 20) }

// raceUnits has each of three clients open that many nexuses.
func raceUnits(t *testing.T, sessions int) {
	d := newSlow(t)
	x := newBed(t, UnitConfig{Device: d})
	stop := make(chan struct{})
	var device, clients sync.WaitGroup
	device.Go(func() {
		for {
			d.mu.Lock()
			held := d.held
			d.held = nil
			d.mu.Unlock()
			var b backends.Batch
			d.Memory.Submit(&b, held)
			b.Run()
			select {
			case <-stop:
				return
			default:
			}
		}
	})
	clients.Go(func() { // the configuration
		var b backends.Batch
		for range 5 * sessions {
			if err := x.target.Add(1, Mapping{Unit: x.unit}); err != nil {
				t.Error(err)
			}
			removed := make(chan struct{})
			x.target.Remove(&b, 1, func(*backends.Batch, backends.Result) { close(removed) })
			b.Run()
			<-removed
		}
	})
	for id := range byte(3) {
		clients.Go(func() {
			for range sessions {
				session(t, x, id)
			}
		})
	}
	clients.Wait()
	close(stop)
	device.Wait()
	if x.unit.tasks.first != nil || len(x.unit.links) != 0 {
		t.Errorf("%d links are left, the first task is %v", len(x.unit.links), x.unit.tasks.first)
	}
}

// session is one nexus from its login to its end, on two LUNs of one unit.
func session(t *testing.T, x *bed, id byte) {
	n, err := x.target.Open(NexusConfig{Initiator: initiator(id), Port: 1})
	if err != nil {
		t.Error(err)
		return
	}
	c := &client{tb: t, n: n}
	let := 0
	for i := range 30 {
		cmd := c.command(scsi.LUN(i%2), writeCDB(uint64(i), 1), pattern(id, 512), 0)
		if i%16 == 9 && id == 0 {
			cmd = c.command(0, blockErase(i == 9, false), nil, 0)
		}
		if !n.Begin(cmd) {
			continue
		}
		let++
		if i%4 == 3 {
			n.AbortTask(&c.batch, cmd, func(*backends.Batch, backends.Result) {})
		}
		if i%8 != 5 { // the others stay without their data
			n.Submit(&c.batch, []*Command{cmd})
		}
		c.batch.Run()
	}
	closed := make(chan struct{})
	n.Close(&c.batch, func(*backends.Batch, backends.Result) { close(closed) })
	c.batch.Run()
	<-closed
	c.allEnded(let)
}
