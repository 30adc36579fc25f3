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
	wire "pathgate/internal/iscsi"
	"pathgate/internal/scsi"
)

// account is who an initiator says it is.
type account struct{ name, user, secret string }

// visitor is one session of an account, or what became of its login.
type visitor struct {
	nexus backends.Nexus
	up    chan struct{}
	lost  chan backends.Loss
}

// Up, Down, Async and UnitAttention make a visitor a handler of its session.
func (v *visitor) Up(*backends.Batch, backends.Nexus, backends.Login) { tell(v.up, struct{}{}) }

func (v *visitor) Down(_ *backends.Batch, _ backends.Nexus, l backends.Loss) { tell(v.lost, l) }

func (*visitor) Async(*backends.Batch, backends.Nexus, backends.AsyncEvent) {}

func (*visitor) UnitAttention(*backends.Batch, backends.Session, backends.Sense) {}

// tell leaves the first v in c.
func tell[T any](c chan T, v T) {
	select {
	case c <- v:
	default:
	}
}

// visit logs in to a target with an ISID of the number, once. A loss is how that failed.
func (a account) visit(t *testing.T, portal, target string, number byte) (*visitor, *backends.Loss) {
	t.Helper()
	k, err := iscsi.New(iscsi.Config{
		InitiatorName: a.name, Adapter: "test",
		Timeouts: iscsi.Timeouts{
			NOPInterval: time.Minute, NOPTimeout: time.Minute, Login: time.Minute, FenceLogin: time.Minute, Command: time.Minute,
		},
		ISID: func(string, uint16, string) ([6]byte, error) { return [6]byte{0x80, 5: number}, nil },
		CHAP: func(string) *iscsi.CHAP {
			if a.user == "" {
				return nil
			}
			return &iscsi.CHAP{User: a.user, Secret: wire.NewSecret([]byte(a.secret))}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	v := &visitor{up: make(chan struct{}, 1), lost: make(chan backends.Loss, 1)}
	v.nexus = k.Connect(backends.TargetPortal{Target: target, Portal: portal}, v)
	t.Cleanup(v.leave)
	select {
	case <-v.up:
		return v, nil
	case l := <-v.lost:
		v.leave()
		return nil, &l
	case <-time.After(2 * time.Minute):
		t.Fatalf("%s: the login to %s is not answered", a.name, target)
		return nil, nil
	}
}

// mustVisit is visit for one who has to be let in.
func (a account) mustVisit(t *testing.T, portal, target string, number byte) *visitor {
	t.Helper()
	v, loss := a.visit(t, portal, target, number)
	if loss != nil {
		t.Fatalf("%s at %s: %v: %v", a.name, target, loss.Class, loss.Err)
	}
	return v
}

func (v *visitor) leave() { _ = v.nexus.Close(context.Background()) }

// cdb is a CDB as it stands.
type cdb [16]byte

// Encode fills b.
func (c cdb) Encode(b *[16]byte) int { *b = c; return len(c) }

// exec carries a CDB out that asks for or sends data, once.
func (v *visitor) exec(lun uint16, cdb [16]byte, in int, out []byte) ([]byte, backends.Result) {
	c := &backends.Command{CDB: cdb, MaxIn: in, Timeout: time.Minute}
	if len(out) > 0 {
		c.Out.AppendBytes(out)
	}
	done := make(chan struct{})
	c.Done = func(*backends.Batch, *backends.Command) { close(done) }
	var b backends.Batch
	v.nexus.Session(lun).Exec(&b, c)
	b.Run()
	<-done
	data := bytes.Clone(c.In.Bytes())
	c.In.Release()
	c.Out.Release()
	return data, c.Result
}

// do is exec again and again until the answer is neither a unit attention nor BUSY.
func (v *visitor) do(t *testing.T, lun uint16, cdb interface{ Encode(*[16]byte) int }, in int, out []byte) (data []byte, res backends.Result) {
	t.Helper()
	var raw [16]byte
	cdb.Encode(&raw)
	if !gate.Poll(time.Minute, func() bool {
		data, res = v.exec(lun, raw, in, out)
		return res.Class != backends.Busy && !(res.Sense.Valid && res.Sense.Key == uint8(scsi.UnitAttention))
	}) {
		t.Fatalf("LUN %d: %T: %+v", lun, cdb, res)
	}
	return data, res
}

// write fills the first block.
func (v *visitor) write(t *testing.T, lun uint16, fill byte) backends.Class {
	t.Helper()
	_, res := v.do(t, lun, scsi.ReadWrite{Write: true, Blocks: 1}, 0, bytes.Repeat([]byte{fill}, 512))
	return res.Class
}

// read gives what the first block is filled with.
func (v *visitor) read(t *testing.T, lun uint16) (fill byte, class backends.Class) {
	t.Helper()
	data, res := v.do(t, lun, scsi.ReadWrite{Blocks: 1}, 512, nil)
	if !res.OK() {
		return 0, res.Class
	}
	if len(data) != 512 || !bytes.Equal(data, bytes.Repeat(data[:1], 512)) {
		t.Errorf("LUN %d: the block has %d bytes, not all alike", lun, len(data))
		return 0, res.Class
	}
	return data[0], res.Class
}
