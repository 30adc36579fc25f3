// SPDX-License-Identifier: Apache-2.0

//go:build integration

package initiators

import (
	"context"
	"testing"
	"time"

	"pathgate/backends"
	"pathgate/backends/iscsi"
	"pathgate/integration/gate"
	"pathgate/integration/nbdclient"
	"pathgate/integration/scripted"
	"pathgate/internal/scsi"
)

// client is a disk as one protocol has it.
type client interface {
	write(fua bool) error // of one block
	flush() error
	read() error // of another one
}

type overNBD struct{ *nbdclient.Client }

func (c overNBD) write(fua bool) (err error) {
	if fua {
		_, err = c.WriteFUA(make([]byte, 4096), 0)
	} else {
		_, err = c.WriteAt(make([]byte, 4096), 0)
	}
	return err
}

func (c overNBD) flush() error { return c.Flush() }

func (c overNBD) read() error {
	_, err := c.ReadAt(make([]byte, 4096), 8192)
	return err
}

// overISCSI is LUN lun of a session; size is that of its CDBs.
type overISCSI struct {
	nexus backends.Nexus
	lun   uint16
	size  int
}

func (c overISCSI) write(fua bool) error {
	return c.run(scsi.ReadWrite{Write: true, Size: c.size, Blocks: 8, FUA: fua}, make([]byte, 4096))
}

func (c overISCSI) flush() error { return c.run(scsi.SynchronizeCache{Size: c.size}, nil) }

func (c overISCSI) read() error { return c.run(scsi.ReadWrite{Size: c.size, LBA: 16, Blocks: 8}, nil) }

func (c overISCSI) run(cdb interface{ Encode(*[16]byte) int }, out []byte) error {
	done := make(chan struct{})
	cmd := &backends.Command{Timeout: limit, Done: func(*backends.Batch, *backends.Command) { close(done) }}
	cdb.Encode(&cmd.CDB)
	cmd.Out.AppendBytes(out)
	if out == nil {
		cmd.MaxIn = 4096
	}
	var b backends.Batch
	c.nexus.Session(c.lun).Exec(&b, cmd)
	b.Run()
	<-done
	cmd.Out.Release()
	cmd.In.Release()
	return cmd.Result.Err()
}

// arrival is told of a login.
type arrival struct {
	up   chan struct{}
	down chan error
}

func (a arrival) Up(*backends.Batch, backends.Nexus, backends.Login) {
	select {
	case a.up <- struct{}{}:
	default:
	}
}

func (a arrival) Down(_ *backends.Batch, _ backends.Nexus, l backends.Loss) {
	select {
	case a.down <- l.Err:
	default:
	}
}

func (arrival) Async(*backends.Batch, backends.Nexus, backends.AsyncEvent)      {}
func (arrival) UnitAttention(*backends.Batch, backends.Session, backends.Sense) {}

// login has an initiator of ours log in to vm1.
func login(t *testing.T, portal string) backends.Nexus {
	t.Helper()
	k, err := iscsi.New(iscsi.Config{
		InitiatorName: "iqn.2026-11.test:stored", Adapter: "stored",
		Timeouts: iscsi.Timeouts{NOPInterval: limit, NOPTimeout: limit, Login: limit, FenceLogin: limit, Command: limit},
		ISID:     func(string, uint16, string) ([6]byte, error) { return [6]byte{0x40, 1, 2, 3, 4, 5}, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	a := arrival{make(chan struct{}, 1), make(chan error, 1)}
	n := k.Connect(backends.TargetPortal{Target: prefix + "vm1", Portal: portal}, a)
	t.Cleanup(func() { _ = n.Close(context.Background()) })
	select {
	case <-a.up:
	case err := <-a.down:
		t.Fatal(err)
	}
	return n
}

// limit is far more than anything here takes.
const limit = 2 * time.Minute

// P2: what a client demands to be on stable storage is answered with what the target
// says of the command that puts it there: the write with the FUA bit or, where the LUN
// does not take the bit, the SYNCHRONIZE CACHE after it.
func TestP02StoredAtTheTarget(t *testing.T) {
	with, without := scripted.NewUnit(8*mib), scripted.NewUnit(8*mib)
	without.FUA = false
	tg := scripted.New(t, scripted.Options{Units: map[uint16]*scripted.Unit{1: with, 2: without}})
	g, list := start(t, gate.Config{
		Adapters: []string{"127.0.0.1"}, Targets: []gate.Target{{Portals: tg.Addresses()}},
		Rules: []string{`{id: "*", all-paths-down: queue}`},
		Disks: []string{`{name: with, lun: "vmhba0:0:1"}`, `{name: without, lun: "vmhba0:0:2"}`},
	}, 1)
	g.WaitUp(t, 2, limit)
	n := login(t, list[0])
	fronts := func(lun int, export string) map[string]client {
		m := map[string]client{"NBD": overNBD{g.Connect(t, export)}}
		for name, size := range map[string]int{"10-byte commands": 10, "16-byte commands": 16} {
			m[name] = overISCSI{n, uint16(lun), size}
		}
		for range 5 { // the unit attentions of the session
			if m["10-byte commands"].read() == nil {
				break
			}
		}
		return m
	}
	isFUA := func(c *scripted.Command) bool { return c.CDB[1]&8 != 0 }
	for i, export := range []string{"vm1/with", "vm1/without"} {
		for name, c := range fronts(i, export) {
			durable := scripted.Rule{LUNs: []uint16{uint16(i + 1)}, Ops: scripted.Writes, Match: isFUA}
			if i == 1 {
				durable.Ops, durable.Match = scripted.Flushes, nil
			}
			t.Run(export+", FUA, "+name, func(t *testing.T) {
				stored(t, tg, durable, c, func() error { return c.write(true) })
			})
			flush := scripted.Rule{LUNs: durable.LUNs, Ops: scripted.Flushes}
			t.Run(export+", flush, "+name, func(t *testing.T) {
				stored(t, tg, flush, c, func() error {
					if err := c.write(false); err != nil { // else there is nothing to flush
						t.Error(err)
					}
					return c.flush()
				})
			})
		}
	}
}

// stored has the target hold what rule takes of f, carry it out, and fail it.
func stored(t *testing.T, tg *scripted.Target, rule scripted.Rule, c client, f func() error) {
	t.Helper()
	held := make(chan *scripted.Command, 1)
	rule.Times, rule.Do = 1, func(c *scripted.Command) { held <- c }
	s := tg.On(rule)
	defer s.Remove()
	ended := make(chan error, 1)
	go func() { ended <- f() }()
	var cmd *scripted.Command
	select {
	case cmd = <-held:
	case err := <-ended:
		t.Fatalf("the target had nothing to hold: %v", err)
	}
	for range 3 { // what was answered without the target would be answered before these
		if err := c.read(); err != nil {
			t.Error(err)
		}
	}
	select {
	case err := <-ended:
		t.Errorf("answered while the target holds it: %v", err)
	default:
	}
	cmd.Go(cmd.Run)
	if err := <-ended; err != nil {
		t.Errorf("the target has done it: %v", err)
	}
	rule.Do = scripted.Check(scsi.CodeWriteError)
	bad := tg.On(rule)
	if err := f(); err == nil || bad.Hits() != 1 {
		t.Errorf("the target has failed it %d times: %v", bad.Hits(), err)
	}
	bad.Remove()
	for _, again := range []func() error{func() error { return c.write(false) }, c.flush} {
		if err := again(); err != nil {
			t.Errorf("written again: %v", err)
		}
	}
}
