// SPDX-License-Identifier: Apache-2.0

//go:build integration

package reserve

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"pathgate/backends"
	"pathgate/backends/iscsi"
	"pathgate/integration/gate"
	"pathgate/integration/lio"
	"pathgate/integration/nbdclient"
	"pathgate/integration/proxy"
	"pathgate/integration/tgtd"
	"pathgate/internal/scsi"
)

const (
	mib       = 1 << 20
	blockSize = 4096
	reserved  = `{id: "*", all-paths-down: queue, cache: protected, reservation: {mode: exclusive-all-registrants}}`
)

func TestMain(m *testing.M) { os.Exit(gate.Main(m)) }

// bed is a target with two portals, each behind a proxy, and what an initiator of its
// own sees there.
type bed struct {
	lun     uint16
	device  string // its canonical name: the first path
	proxies []*proxy.Proxy
	eye     *eye
}

// newBed is the kernel's target, with a portal group for each portal.
func newBed(t *testing.T) *bed {
	t.Helper()
	srv := lio.New(t, lio.Options{
		LUNs: []lio.LUN{{SizeBytes: 32 * mib}}, Groups: make([]lio.PortalGroup, 2),
		// Without it LIO answers each registration with 2/08/00, and carries it out.
		Configure: "mkdir -p /var/target/pr",
	})
	return makeBed(t, 0, srv.Name(), srv.Portals())
}

// newTgtdBed is one tgtd, all in one group.
func newTgtdBed(t *testing.T) *bed {
	t.Helper()
	const name = "iqn.2026-11.test:reserve"
	srv := tgtd.New(t, tgtd.Options{
		Portals: []string{"127.0.0.1:0", "127.0.0.1:0"},
		Targets: []tgtd.Target{{Name: name, LUNs: []tgtd.LUN{{SizeBytes: 32 * mib, SCSIID: "pathgate-reserve", SCSISN: "reserve"}}}},
	})
	return makeBed(t, 1, name, srv.Portals())
}

func makeBed(t *testing.T, lun uint16, target string, portals []string) *bed {
	t.Helper()
	b := &bed{lun: lun, device: fmt.Sprintf("vmhba0:0:%d", lun)}
	for _, portal := range portals {
		b.proxies = append(b.proxies, proxy.MustNew(t, proxy.Options{Target: portal, Protocol: proxy.ISCSI, Seed: 1}))
	}
	b.eye = newEye(t, lun, target, portals[0])
	return b
}

// gateway starts a gateway of that initiator name, which reserves all LUNs.
func (b *bed) gateway(t *testing.T, name string, adapters ...string) *gate.Gate {
	t.Helper()
	c := gate.Config{
		Initiator: "iqn.2026-11.test:" + name, Adapters: adapters, Rules: []string{reserved},
		Disks: []string{`{name: root, lun: "` + b.device + `"}`},
	}
	var target gate.Target
	for _, p := range b.proxies {
		target.Portals = append(target.Portals, p.Addr())
	}
	c.Targets = []gate.Target{target}
	g := gate.New(t, c)
	g.WaitUp(t, len(b.proxies)*len(adapters), time.Minute)
	return g
}

// eye is an initiator that registers nothing: it reads what is registered.
type eye struct{ s backends.Session }

func newEye(t *testing.T, lun uint16, target, portal string) *eye {
	t.Helper()
	k, err := iscsi.New(iscsi.Config{
		InitiatorName: "iqn.2026-11.test:eye", Adapter: "eye",
		Timeouts: iscsi.Timeouts{
			NOPInterval: 5 * time.Second, NOPTimeout: 20 * time.Second,
			Login: 20 * time.Second, FenceLogin: 5 * time.Second, Command: 20 * time.Second,
		},
		ISID: func(string, uint16, string) ([6]byte, error) { return [6]byte{0x80, 1, 2, 3, 4, 5}, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	n := k.Connect(backends.TargetPortal{Target: target, Portal: portal}, handler{})
	t.Cleanup(func() { _ = n.Close(context.Background()) })
	return &eye{n.Session(lun)}
}

// handler takes no notice: commands fail while there is no session.
type handler struct{}

func (handler) Up(*backends.Batch, backends.Nexus, backends.Login)              {}
func (handler) Down(*backends.Batch, backends.Nexus, backends.Loss)             {}
func (handler) Async(*backends.Batch, backends.Nexus, backends.AsyncEvent)      {}
func (handler) UnitAttention(*backends.Batch, backends.Session, backends.Sense) {}

// in sends PERSISTENT RESERVE IN until it is answered.
func (e *eye) in(t *testing.T, action scsi.ReserveInAction) []byte {
	t.Helper()
	var data []byte
	var last backends.Result
	if !gate.Poll(30*time.Second, func() bool {
		c := &backends.Command{MaxIn: 4096, Timeout: 5 * time.Second}
		scsi.PersistentReserveIn{Action: action, AllocationLength: 4096}.Encode(&c.CDB)
		done := make(chan struct{})
		c.Done = func(*backends.Batch, *backends.Command) { close(done) }
		var b backends.Batch
		e.s.Exec(&b, c)
		b.Run()
		<-done
		last = c.Result
		data = bytes.Clone(c.In.Bytes())
		c.In.Release()
		return last.OK()
	}) {
		t.Fatalf("PERSISTENT RESERVE IN: %+v", last)
	}
	return data
}

// keys reads the registrations, in order.
func (e *eye) keys(t *testing.T) []uint64 {
	t.Helper()
	r, err := scsi.DecodeRegisteredKeys(e.in(t, scsi.ReadKeys))
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(r.Keys)
	return r.Keys
}

func (e *eye) reservation(t *testing.T) scsi.Reservation {
	t.Helper()
	r, err := scsi.DecodeReservation(e.in(t, scsi.ReadReservation))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// reservation is what `reservation show -o json` prints, as far as it is used here.
type reservation struct {
	State, Type, Gateway, Reason string
	Keys                         []struct {
		Key, Gateway, Path string
		Ours               bool
	}
}

func (b *bed) show(t *testing.T, g *gate.Gate) (r reservation) {
	t.Helper()
	if err := json.Unmarshal([]byte(g.MustCLI(t, "reservation", "show", b.device, "-o", "json")), &r); err != nil {
		t.Fatal(err)
	}
	return r
}

func block(fill byte) []byte { return bytes.Repeat([]byte{fill}, blockSize) }

// reads fails the test if the block at off is not of that byte.
func reads(t *testing.T, c *nbdclient.Client, off int64, fill byte) {
	t.Helper()
	got := make([]byte, blockSize)
	if _, err := c.ReadAt(got, off); err != nil || !bytes.Equal(got, block(fill)) {
		t.Errorf("read at %d: %v, begins with %d, ends with %d, want %d", off, err, got[0], got[blockSize-1], fill)
	}
}
