// SPDX-License-Identifier: Apache-2.0

//go:build integration

package reserve

import (
	"bytes"
	"context"
	"encoding/json"
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
	"pathgate/internal/scsi"
)

const (
	mib       = 1 << 20
	blockSize = 4096
	device    = "vmhba0:0:0"
	reserved  = `{id: "*", all-paths-down: queue, cache: protected, reservation: {mode: exclusive-all-registrants}}`
)

func TestMain(m *testing.M) { os.Exit(gate.Main(m)) }

// bed is a kernel target with two portal groups, each behind a proxy, and what an
// initiator of its own sees there.
type bed struct {
	srv     *lio.Server
	proxies []*proxy.Proxy
	eye     *eye
}

func newBed(t *testing.T) *bed {
	t.Helper()
	b := &bed{srv: lio.New(t, lio.Options{
		LUNs: []lio.LUN{{SizeBytes: 32 * mib}}, Groups: make([]lio.PortalGroup, 2),
		// Without it LIO answers each registration with 2/08/00, and carries it out.
		Configure: "mkdir -p /var/target/pr",
	})}
	for _, portal := range b.srv.Portals() {
		b.proxies = append(b.proxies, proxy.MustNew(t, proxy.Options{Target: portal, Protocol: proxy.ISCSI, Seed: 1}))
	}
	b.eye = newEye(t, b.srv)
	return b
}

// gateway starts a gateway of that initiator name, with rule for all LUNs.
func (b *bed) gateway(t *testing.T, name, rule string, adapters ...string) *gate.Gate {
	t.Helper()
	c := gate.Config{
		Initiator: "iqn.2026-11.test:" + name, Adapters: adapters, Rules: []string{rule},
		Disks: []string{`{name: root, lun: "` + device + `"}`},
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

func newEye(t *testing.T, srv *lio.Server) *eye {
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
	n := k.Connect(backends.TargetPortal{Target: srv.Name(), Portal: srv.Portals()[0]}, handler{})
	t.Cleanup(func() { _ = n.Close(context.Background()) })
	return &eye{n.Session(0)}
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

func show(t *testing.T, g *gate.Gate) (r reservation) {
	t.Helper()
	if err := json.Unmarshal([]byte(g.MustCLI(t, "reservation", "show", device, "-o", "json")), &r); err != nil {
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
