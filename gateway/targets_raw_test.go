// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pathgate/gateway/control"
	"pathgate/gateway/iscsi"
	wire "pathgate/internal/iscsi"
	spc "pathgate/internal/scsi"
)

// rawClient sends an iSCSI target what no initiator of ours would.
type rawClient struct {
	t     *testing.T
	conn  net.Conn
	cmdSN wire.Serial
}

// raw connects to the portal of b.
func (b *targetBed) raw(t *testing.T) *rawClient {
	t.Helper()
	conn := must[net.Conn](t)(net.Dial("tcp", b.portal))
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	return &rawClient{t: t, conn: conn, cmdSN: wire.SerialOf(1)}
}

func (c *rawClient) send(p interface{ Encode(*wire.BHS) }, data []byte) {
	c.t.Helper()
	var h wire.BHS
	p.Encode(&h)
	if _, err := c.conn.Write(wire.LoginFraming().AppendPacket(nil, &h, nil, data)); err != nil {
		c.t.Fatal(err)
	}
}

// read gives the next PDU, or the end of the connection.
func (c *rawClient) read() (*wire.BHS, []byte, error) {
	head := make([]byte, wire.HeaderLength)
	if _, err := io.ReadFull(c.conn, head); err != nil {
		return nil, nil, err
	}
	h := (*wire.BHS)(head)
	l, err := wire.LoginFraming().Lengths(h)
	if err != nil {
		return nil, nil, err
	}
	body := make([]byte, l.Body())
	_, err = io.ReadFull(c.conn, body)
	return h, body[:l.Data], err
}

// login asks for target in one request, and gives the answer; without one, it is for
// discovery.
func (c *rawClient) login(initiator, target string) (wire.LoginResponse, wire.Text) {
	c.t.Helper()
	where := wire.KeyValue{Key: wire.KeyTargetName, Value: target}
	if target == "" {
		where = wire.KeyValue{Key: wire.KeySessionType, Value: wire.DiscoverySession.String()}
	}
	c.send(wire.LoginRequest{
		Transit: true, CurrentStage: wire.OperationalNegotiation, NextStage: wire.FullFeaturePhase,
		ISID: wire.ISID{0x80, 7}, ITT: 7, CID: 1, CmdSN: c.cmdSN,
	}, wire.Text{{Key: wire.KeyInitiatorName, Value: initiator}, where}.Append(nil))
	h, data, err := c.read()
	if err != nil {
		c.t.Fatal(err)
	}
	p := must[wire.LoginResponse](c.t)(wire.DecodeLoginResponse(h))
	return p, must[wire.Text](c.t)(wire.ParseText(data))
}

// ends waits for the end of the connection, and tells whether there was an R2T.
func (c *rawClient) ends(within time.Duration) (asked bool) {
	c.t.Helper()
	_ = c.conn.SetReadDeadline(time.Now().Add(within))
	for {
		h, _, err := c.read()
		if err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				c.t.Error("the session does not end")
			}
			return asked
		}
		asked = asked || h.Opcode() == wire.OpR2T
	}
}

const clientTimersConfig = `
state: DIR/state.db
iscsi: {listen: [127.0.0.1]}
timeouts: {client-data: DATA, client-nop-interval: 100ms, client-nop-timeout: NOP}
vms: [{name: vm1, disks: [{name: a, file: DIR/a}]}]
`

// TestTargetsClientTimers: an initiator that owes data, and one that says nothing, are
// given up in the times of the configuration.
func TestTargetsClientTimers(t *testing.T) {
	for _, tt := range []struct {
		name, data, nop string
		owes            bool
		within          time.Duration // less than the default would take
	}{
		{"owes data", "100ms", "10m", true, 50 * time.Second},
		{"is silent", "1h", "100ms", false, 14 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			writeDisk(t, filepath.Join(dir, "a"))
			b := newTargetBed(t, dir, strings.NewReplacer("DATA", tt.data, "NOP", tt.nop).Replace(clientTimersConfig))
			b.attachMissing()
			c := b.raw(t)
			if p, _ := c.login("iqn.2026-11.test:x", b.cfg.ISCSI.TargetName("vm1")); p.Status != wire.LoginSuccess {
				t.Fatal(p.Status)
			}
			if tt.owes {
				for range 2 { // the first takes the unit attention
					w := wire.SCSICommand{Final: true, Write: true, ITT: wire.InitiatorTaskTag(c.cmdSN.Uint32()), CmdSN: c.cmdSN, ExpectedDataTransferLength: 512}
					w.CDB = [16]byte{byte(spc.OpWrite10), 8: 1}
					c.send(w, nil)
					c.cmdSN = c.cmdSN.Next()
				}
			}
			if asked := c.ends(tt.within); asked != tt.owes {
				t.Errorf("data was asked for: %v", asked)
			}
		})
	}
}

// TestB23RivalEvent: hosts that quarrel about a session are told to people.
func TestB23RivalEvent(t *testing.T) {
	b := newTargetBed(t, t.TempDir(), portalsConfig)
	b.targets.rival(&iscsi.Peer{Initiator: "iqn.2026-11.test:x", Connection: "iscsi 192.0.2.7:1"}, b.cfg.ISCSI.TargetName("here"), "iscsi 192.0.2.8:1")
	for e := range b.bus.Subscribe(t.Context(), 0) {
		if e.Kind.String() != "client-rival" || e.VM != "here" || !strings.Contains(e.Message, "192.0.2.8") {
			t.Errorf("%+v", e)
		}
		break
	}
}

const portalsConfig = `
state: DIR/state.db
iscsi: {listen: [{address: 127.0.0.1, advertise: [gw.example, "192.0.2.1:4000"]}]}
vms:
  - {name: here, disks: [{name: a, file: DIR/a, open: fail}]}
  - {name: later, iscsi: {redirect: "192.0.2.9"}, disks: [{name: a, file: DIR/b, open: fail}]}
  - {name: gone, iscsi: {redirect: {to: "[fd00::9]:3270", permanent: true}}, disks: [{name: a, file: DIR/c, open: fail}]}
  - {name: inside, iscsi: {redirect: gw.example}, disks: [{name: a, file: DIR/d, open: fail}]}
  - {name: named, iscsi: {redirect: "192.0.2.9", initiators: ["iqn.2026-11.test:a"]}, disks: [{name: a, file: DIR/e, open: fail}]}
`

// TestTargetsRedirect: who logs in to a VM that is elsewhere is sent there, unless it
// is there already; who may not know the VM is told nothing.
func TestTargetsRedirect(t *testing.T) {
	b := newTargetBed(t, t.TempDir(), portalsConfig)
	for _, tt := range []struct {
		vm   string
		want wire.LoginStatus
		to   string
	}{
		{"here", wire.LoginSuccess, ""},
		{"later", wire.LoginTargetMovedTemporarily, "192.0.2.9:3260"},
		{"gone", wire.LoginTargetMovedPermanently, "[fd00::9]:3270"},
		{"inside", wire.LoginSuccess, ""},
		{"named", wire.LoginNotFound, ""},
	} {
		p, text := b.raw(t).login("iqn.2026-11.test:x", b.cfg.ISCSI.TargetName(tt.vm))
		if to, _ := text.Get(wire.KeyTargetAddress); p.Status != tt.want || to != tt.to {
			t.Errorf("%s: %v, to %q; want %v, %q", tt.vm, p.Status, to, tt.want, tt.to)
		}
	}
	// At a portal of ours that it is sent to, by address.
	p := &iscsi.Peer{PortalGroupTag: 1, Local: &net.TCPAddr{IP: net.ParseIP("192.0.2.9"), Port: 3260}}
	if err := b.targets.moved(b.targets.list[1], p); err != nil {
		t.Error(err)
	}
}

// TestTargetsAdvertise: discovery and attach tell the addresses that clients reach.
func TestTargetsAdvertise(t *testing.T) {
	b := newTargetBed(t, t.TempDir(), portalsConfig)
	c := b.raw(t)
	if p, _ := c.login("iqn.2026-11.test:x", ""); p.Status != wire.LoginSuccess {
		t.Fatal(p.Status)
	}
	c.send(wire.TextRequest{Final: true, ITT: 8, TTT: wire.NoTag, CmdSN: c.cmdSN}, []byte("SendTargets="+b.cfg.ISCSI.TargetName("here")+"\x00"))
	_, data, err := c.read()
	if err != nil {
		t.Fatal(err)
	}
	want := wire.Text{
		{Key: wire.KeyTargetName, Value: b.cfg.ISCSI.TargetName("here")},
		{Key: wire.KeyTargetAddress, Value: "gw.example:3260,1"},
		{Key: wire.KeyTargetAddress, Value: "192.0.2.1:4000,1"},
	}
	if diff := cmp.Diff(want, must[wire.Text](t)(wire.ParseText(data))); diff != "" {
		t.Error(diff)
	}
	a := must[control.Attachment](t)((*adminView)(b.Gateway).Attachment("here"))
	if diff := cmp.Diff([]string{"gw.example:3260", "192.0.2.1:4000"}, a.ISCSI.Portals); diff != "" {
		t.Error(diff)
	}
}
