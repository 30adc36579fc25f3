// SPDX-License-Identifier: Apache-2.0

//go:build integration

package initiator

import (
	"bytes"
	"context"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"pathgate/backends"
	"pathgate/backends/iscsi"
	"pathgate/integration/tgtd"
	wire "pathgate/internal/iscsi"
)

const target = "iqn.2026-11.test:initiator"

// lun1 is the geometry of the LUNs here.
var lun1 = backends.Geometry{LogicalBlock: 512, Size: 64 << 20, FUA: true}

func newTgtd(t testing.TB, change func(*tgtd.Target)) *tgtd.Server {
	tg := tgtd.Target{Name: target, LUNs: []tgtd.LUN{{SizeBytes: int64(lun1.Size), Thin: true}}}
	if change != nil {
		change(&tg)
	}
	return tgtd.New(t, tgtd.Options{Targets: []tgtd.Target{tg}})
}

func config() iscsi.Config {
	return iscsi.Config{
		InitiatorName: "iqn.2026-11.test:host",
		Adapter:       "vmhba0",
		SourceAddr:    netip.MustParseAddr("127.0.0.1"),
		ISID: func(string, uint16, string) ([6]byte, error) {
			return [6]byte{0x80, 1, 2, 3, 0, 1}, nil
		},
		Timeouts: iscsi.Timeouts{
			NOPInterval: time.Second, NOPTimeout: time.Second,
			Login: 15 * time.Second, FenceLogin: 5 * time.Second, Command: 8 * time.Second,
		},
	}
}

// events is a handler that passes everything on to channels.
type events struct {
	up   chan backends.Login
	down chan backends.Loss
	ua   chan backends.Sense
}

func newEvents() *events {
	return &events{make(chan backends.Login, 100), make(chan backends.Loss, 100), make(chan backends.Sense, 100)}
}

func (e *events) Up(_ *backends.Batch, _ backends.Nexus, l backends.Login)   { e.up <- l }
func (e *events) Down(_ *backends.Batch, _ backends.Nexus, l backends.Loss)  { e.down <- l }
func (e *events) Async(*backends.Batch, backends.Nexus, backends.AsyncEvent) {}
func (e *events) UnitAttention(_ *backends.Batch, _ backends.Session, s backends.Sense) {
	select {
	case e.ua <- s:
	default:
	}
}

// handlers tells the events of each nexus of the test that runs.
var handlers = map[backends.Nexus]*events{}

// connect logs in and clears the unit attention of a new nexus.
func connect(t testing.TB, cfg iscsi.Config, portal string) (backends.Nexus, backends.Session, backends.Login) {
	t.Helper()
	k, err := iscsi.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	e := newEvents()
	n := k.Connect(backends.TargetPortal{Target: target, Portal: portal}, e)
	handlers[n] = e
	t.Cleanup(func() { _ = n.Close(context.Background()) })
	s := n.Session(1)
	return n, s, ready(t, e, s)
}

func ready(t testing.TB, e *events, s backends.Session) backends.Login {
	t.Helper()
	for {
		select {
		case l := <-e.up:
			for range 3 {
				if exec(t, s, [16]byte{}, 0).Result.OK() { // TEST UNIT READY
					break
				}
			}
			s.SetGeometry(l.Generation, lun1)
			return l
		case d := <-e.down:
			t.Fatalf("down: %v: %v", d.Class, d.Err)
		case <-time.After(20 * time.Second):
			t.Fatal("no login")
		}
	}
}

func exec(t testing.TB, s backends.Session, cdb [16]byte, in int) *backends.Command {
	t.Helper()
	done := make(chan struct{})
	x := &backends.Command{CDB: cdb, MaxIn: in, Done: func(*backends.Batch, *backends.Command) { close(done) }}
	var b backends.Batch
	s.Exec(&b, x)
	b.Run()
	wait(t, done)
	return x
}

func wait(t testing.TB, done <-chan struct{}) {
	t.Helper()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Fatal("not completed")
	}
}

// do submits one request and waits.
func do(t testing.TB, s backends.Session, r *backends.Request) backends.Result {
	t.Helper()
	done := make(chan struct{})
	var res backends.Result
	r.Completer = backends.CompleterFunc(func(_ *backends.Batch, _ *backends.Request, got backends.Result) {
		res = got
		close(done)
	})
	var b backends.Batch
	s.Submit(&b, []*backends.Request{r})
	b.Run()
	wait(t, done)
	return res
}

func write(t testing.TB, s backends.Session, off uint64, data []byte) {
	t.Helper()
	r := &backends.Request{Op: backends.Write, Offset: off, Length: uint64(len(data))}
	r.Data.AppendBytes(data)
	if res := do(t, s, r); !res.OK() {
		t.Fatalf("write of %d bytes at %d: %+v", len(data), off, res)
	}
	r.Data.Release()
}

func read(t testing.TB, s backends.Session, off uint64, n int) []byte {
	t.Helper()
	r := &backends.Request{Op: backends.Read, Offset: off, Length: uint64(n)}
	if res := do(t, s, r); !res.OK() {
		t.Fatalf("read of %d bytes at %d: %+v", n, off, res)
	}
	defer r.Data.Release()
	return append([]byte(nil), r.Data.Bytes()...)
}

func randomBytes(n int) []byte {
	p := make([]byte, n)
	src := rand.NewChaCha8([32]byte{byte(n), byte(n >> 8), byte(n >> 16)})
	_, _ = src.Read(p)
	return p
}

func verify(t *testing.T, s backends.Session) {
	t.Helper()
	for i, n := range []int{512, 4096, 65536, 300 * 512, 1 << 20, 3<<20 + 512} {
		off := uint64(i) << 22
		data := randomBytes(n)
		write(t, s, off, data)
		if !bytes.Equal(read(t, s, off, n), data) {
			t.Errorf("%d bytes at %d read back different", n, off)
		}
	}
	if res := do(t, s, &backends.Request{Op: backends.Flush}); !res.OK() {
		t.Errorf("flush: %+v", res)
	}
}

func TestReadWrite(t *testing.T) {
	tests := []struct {
		name   string
		cfg    func(*iscsi.Config)
		target func(*tgtd.Target)
		keys   string
	}{
		{"plain", nil, nil, "HeaderDigest=None DataDigest=None"},
		{"header digest", func(c *iscsi.Config) { c.HeaderDigest = iscsi.DigestRequire }, nil, "HeaderDigest=CRC32C DataDigest=None"},
		{"data digest", func(c *iscsi.Config) { c.DataDigest = iscsi.DigestRequire }, nil, "HeaderDigest=None DataDigest=CRC32C"},
		{"digests", func(c *iscsi.Config) { c.HeaderDigest, c.DataDigest = iscsi.DigestPrefer, iscsi.DigestPrefer }, nil, "HeaderDigest=CRC32C DataDigest=CRC32C"},
		{"CHAP", func(c *iscsi.Config) {
			c.CHAP = func(string) *iscsi.CHAP {
				return &iscsi.CHAP{User: "user", Secret: wire.NewSecret([]byte("secret-for-us"))}
			}
		}, func(tg *tgtd.Target) { tg.User, tg.Secret = "user", "secret-for-us" }, ""},
		{"mutual CHAP", func(c *iscsi.Config) {
			c.CHAP = func(string) *iscsi.CHAP {
				return &iscsi.CHAP{
					User: "user", Secret: wire.NewSecret([]byte("secret-for-us")),
					MutualUser: "them", MutualSecret: wire.NewSecret([]byte("secret-for-them")),
				}
			}
		}, func(tg *tgtd.Target) {
			tg.User, tg.Secret, tg.MutualUser, tg.MutualSecret = "user", "secret-for-us", "them", "secret-for-them"
		}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			srv := newTgtd(t, tt.target)
			cfg := config()
			if tt.cfg != nil {
				tt.cfg(&cfg)
			}
			if strings.Contains(tt.keys, "CRC32C") {
				allowDigests(t, srv)
			}
			n, s, l := connect(t, cfg, srv.Portals()[0])
			if keys := strings.Join(l.Keys, " "); !strings.Contains(keys, tt.keys) {
				t.Errorf("negotiated %s, want %s", keys, tt.keys)
			}
			verify(t, s)
			if err := n.Close(t.Context()); err != nil {
				t.Errorf("close: %v", err)
			}
		})
	}
}

// allowDigests has tgtd offer digests, which it does not by default.
func allowDigests(t *testing.T, srv *tgtd.Server) {
	t.Helper()
	for _, key := range []string{"HeaderDigest", "DataDigest"} {
		out, err := srv.Admin(t.Context(), "--mode", "target", "--op", "update", "--tid", "1", "--name", key, "--value", "CRC32C,None")
		if err != nil {
			t.Fatalf("%s: %v", out, err)
		}
	}
}

func TestDiscover(t *testing.T) {
	srv := newTgtd(t, nil)
	k, err := iscsi.New(config())
	if err != nil {
		t.Fatal(err)
	}
	list, err := k.Discover(t.Context(), srv.Portals()[0])
	if err != nil || len(list) != 1 || list[0].Target != target || list[0].Portal != srv.Portals()[0] {
		t.Errorf("got %+v, %v", list, err)
	}
}
