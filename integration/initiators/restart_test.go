// SPDX-License-Identifier: Apache-2.0

//go:build integration

package initiators

import (
	"bytes"
	"context"
	"testing"
	"time"

	"pathgate/backends"
	"pathgate/backends/iscsi"
	"pathgate/integration/gate"
	"pathgate/internal/scsi"
)

// startLimit is how long a gateway may take to find its disks.
const startLimit = time.Minute

// available waits for n disks, all there.
func available(n int) func([]gate.Disk) bool {
	return func(ds []gate.Disk) bool {
		there := 0
		for _, d := range ds {
			if d.Available {
				there++
			}
		}
		return there == n
	}
}

// TestRestartKeepsLUNsAndReservations: after kill -9 a disk has its number, its
// identity and, with APTPL, its reservation, which holds for NBD clients too, also
// when another disk has gone.
func TestRestartKeepsLUNsAndReservations(t *testing.T) {
	dir := t.TempDir()
	disk := func(name string) string { return `{name: ` + name + `, file: "` + dir + `/` + name + `", size: 1MiB}` }
	c := gate.Config{Disks: []string{disk("root"), disk("data")}}
	g, portals := start(t, c, 1)
	g.WaitDisks(t, startLimit, available(2))
	const lun, key = 1, 0x70617468
	in := newInitiator(t, portals[0], lun)
	identity := in.exec(t, scsi.Inquiry{VPD: true, Page: scsi.PageIdentification, AllocationLength: 255}, nil)
	in.reserve(t, scsi.PersistentReserveOut{Action: scsi.Register}, scsi.ReserveParameters{ActionKey: key, Persist: true})
	in.reserve(t, scsi.PersistentReserveOut{Action: scsi.Reserve, Type: scsi.WriteExclusive}, scsi.ReserveParameters{Key: key})
	written := func() bool {
		nbd := g.Connect(t, "vm1/data")
		defer nbd.Close()
		if _, err := nbd.ReadAt(make([]byte, 512), 0); err != nil {
			t.Error(err)
		}
		_, err := nbd.WriteAt(make([]byte, 512), 0)
		return err == nil
	}
	if written() {
		t.Error("an NBD client writes what is reserved for an initiator")
	}

	g.Kill()
	c.Disks = c.Disks[1:]
	c.ISCSI = `{listen: ["` + portals[0] + `"]}`
	g.Configure(t, c)
	if err := g.Start(); err != nil {
		t.Fatal(err)
	}
	g.WaitDisks(t, startLimit, available(1))
	if written() {
		t.Error("after the restart an NBD client writes what is reserved")
	}
	if now := in.exec(t, scsi.Inquiry{VPD: true, Page: scsi.PageIdentification, AllocationLength: 255}, nil); !bytes.Equal(now, identity) {
		t.Errorf("identity %x was %x", now, identity)
	}
	held, err := scsi.DecodeReservation(in.exec(t, scsi.PersistentReserveIn{Action: scsi.ReadReservation, AllocationLength: 255}, nil))
	if err != nil || !held.Held || held.Key != key || held.Type != scsi.WriteExclusive {
		t.Errorf("reservation %+v, %v", held, err)
	}
	luns, err := scsi.DecodeLUNList(in.exec(t, scsi.ReportLUNs{AllocationLength: 255}, nil), 10)
	if err != nil || len(luns.LUNs) != 1 || luns.LUNs[0].LUN != lun {
		t.Errorf("LUNs %+v, %v", luns, err)
	}
	in.reserve(t, scsi.PersistentReserveOut{Action: scsi.Clear}, scsi.ReserveParameters{Key: key})
	if !written() {
		t.Error("an NBD client cannot write what is free")
	}
}

// initiator is one of our own, for what others have no tool for.
type initiator struct{ s backends.Session }

func newInitiator(t *testing.T, portal string, lun uint16) *initiator {
	t.Helper()
	k, err := iscsi.New(iscsi.Config{
		InitiatorName: "iqn.2026-11.test:vm1", Adapter: "test",
		Timeouts: iscsi.Timeouts{
			NOPInterval: 5 * time.Second, NOPTimeout: time.Minute,
			Login: 20 * time.Second, FenceLogin: 5 * time.Second, Command: 20 * time.Second,
		},
		ISID: func(string, uint16, string) ([6]byte, error) { return [6]byte{0x80, 1, 2, 3, 4, 5}, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	n := k.Connect(backends.TargetPortal{Target: prefix + "vm1", Portal: portal}, handler{})
	t.Cleanup(func() { _ = n.Close(context.Background()) })
	return &initiator{n.Session(lun)}
}

// handler takes no notice: commands fail while there is no session.
type handler struct{}

func (handler) Up(*backends.Batch, backends.Nexus, backends.Login)              {}
func (handler) Down(*backends.Batch, backends.Nexus, backends.Loss)             {}
func (handler) Async(*backends.Batch, backends.Nexus, backends.AsyncEvent)      {}
func (handler) UnitAttention(*backends.Batch, backends.Session, backends.Sense) {}

// exec sends a CDB until it is carried out.
func (i *initiator) exec(t *testing.T, cdb interface{ Encode(*[16]byte) int }, out []byte) (data []byte) {
	t.Helper()
	var last backends.Result
	if !gate.Poll(time.Minute, func() bool {
		c := &backends.Command{Timeout: 20 * time.Second}
		cdb.Encode(&c.CDB)
		if len(out) > 0 {
			c.Out.AppendBytes(out)
		} else {
			c.MaxIn = 255
		}
		done := make(chan struct{})
		c.Done = func(*backends.Batch, *backends.Command) { close(done) }
		var b backends.Batch
		i.s.Exec(&b, c)
		b.Run()
		<-done
		last = c.Result
		data = bytes.Clone(c.In.Bytes())
		c.In.Release()
		c.Out.Release()
		return last.OK()
	}) {
		t.Fatalf("%T: %+v", cdb, last)
	}
	return data
}

func (i *initiator) reserve(t *testing.T, cdb scsi.PersistentReserveOut, p scsi.ReserveParameters) {
	t.Helper()
	cdb.ParameterListLength = 24
	i.exec(t, cdb, p.Append(nil))
}
