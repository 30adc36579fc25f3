// SPDX-License-Identifier: Apache-2.0

//go:build integration

package initiator

import (
	"bytes"
	"context"
	"testing"
	"time"

	"pathgate/backends"
	"pathgate/backends/iscsi"
	"pathgate/integration/lio"
	wire "pathgate/internal/iscsi"
)

// connectLIO logs in to LUN 0 of srv and clears the unit attention.
func connectLIO(t *testing.T, cfg iscsi.Config, srv *lio.Server) (backends.Session, backends.Login) {
	t.Helper()
	k, err := iscsi.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	e := newEvents()
	n := k.Connect(backends.TargetPortal{Target: srv.Name(), Portal: srv.Portals()[0]}, e)
	handlers[n] = e
	t.Cleanup(func() { _ = n.Close(context.Background()) })
	s := n.Session(0)
	return s, ready(t, e, s)
}

// TestLIO is the initiator against the Linux kernel's target: both digests and
// mutual CHAP, all sizes, operations, task management, and a session that is
// reinstated by its ISID.
func TestLIO(t *testing.T) {
	srv := lio.New(t, lio.Options{
		LUNs: []lio.LUN{{SizeBytes: int64(lun1.Size), Thin: true}},
		User: "alice", Secret: "alicesecret12", MutualUser: "target", MutualSecret: "targetsecret1",
		Initiators: []string{"iqn.2026-11.test:host"},
	})
	mutual := func(secret string) func(string) *iscsi.CHAP {
		return func(string) *iscsi.CHAP {
			return &iscsi.CHAP{
				User: "alice", Secret: wire.NewSecret([]byte("alicesecret12")),
				MutualUser: "target", MutualSecret: wire.NewSecret([]byte(secret)),
			}
		}
	}
	cfg := config()
	cfg.CHAP = mutual("targetsecret1")
	for _, d := range []struct{ header, data iscsi.DigestMode }{
		{iscsi.DigestNone, iscsi.DigestNone}, {iscsi.DigestRequire, iscsi.DigestRequire},
	} {
		c := cfg
		c.HeaderDigest, c.DataDigest = d.header, d.data
		t.Run("digests "+d.header.String(), func(t *testing.T) {
			s, l := connectLIO(t, c, srv)
			t.Log(l.Keys)
			verify(t, s)
			if err := s.Nexus().Close(t.Context()); err != nil {
				t.Errorf("logout: %v", err)
			}
		})
	}
	t.Run("false target", func(t *testing.T) {
		c := cfg
		c.CHAP = mutual("anothersecret")
		k, err := iscsi.New(c)
		if err != nil {
			t.Fatal(err)
		}
		e := newEvents()
		n := k.Connect(backends.TargetPortal{Target: srv.Name(), Portal: srv.Portals()[0]}, e)
		if l := get(t, e.down); l.Class != backends.LossDenied {
			t.Errorf("got %v: %v", l.Class, l.Err)
		}
		_ = n.Close(t.Context())
	})
	t.Run("zeroes", func(t *testing.T) { lioZeroes(t, cfg, srv) })
	t.Run("abort", func(t *testing.T) { lioAbort(t, cfg, srv) })
	t.Run("reset", func(t *testing.T) { lioReset(t, cfg, srv) })
	t.Run("reinstatement", func(t *testing.T) { lioReinstate(t, cfg, srv) })
}

// lioZeroes: WRITE SAME, UNMAP, and COMPARE AND WRITE, which tgtd has not.
func lioZeroes(t *testing.T, cfg iscsi.Config, srv *lio.Server) {
	s, l := connectLIO(t, cfg, srv)
	g := lun1
	g.Unmap, g.WriteSame = true, true
	s.SetGeometry(l.Generation, g)
	const n = 1 << 20
	write(t, s, 0, randomBytes(n))
	if res := do(t, s, &backends.Request{Op: backends.WriteZeroes, Length: n, FUA: true}); !res.OK() {
		t.Errorf("write zeroes: %+v", res)
	} else if !bytes.Equal(read(t, s, 0, n), make([]byte, n)) {
		t.Error("zeroed range is not zero")
	}
	write(t, s, 0, randomBytes(n))
	if res := do(t, s, &backends.Request{Op: backends.Unmap, Length: n}); !res.OK() {
		t.Errorf("unmap: %+v", res)
	}
	res := do(t, s, &backends.Request{Op: backends.WriteZeroes, Length: 32 << 20})
	t.Logf("WRITE SAME of 32 MiB: %+v", res)
	write(t, s, 0, randomBytes(512))
	for _, want := range []backends.Class{backends.OK, backends.Miscompare} {
		caw := &backends.Request{Op: backends.CompareAndWrite, Length: 512}
		caw.Data.AppendBytes(randomBytes(512))
		caw.Data.AppendBytes(make([]byte, 512))
		if res := do(t, s, caw); res.Class != want {
			t.Errorf("compare and write: %+v, want %v", res, want)
		}
	}
}

// lioAbort: aborts race the answers of a target that is stopped meanwhile. Each
// request ends once, and the session lives on.
func lioAbort(t *testing.T, cfg iscsi.Config, srv *lio.Server) {
	cfg.Timeouts.NOPTimeout = 10 * time.Second
	s, _ := connectLIO(t, cfg, srv)
	for range 5 {
		if err := srv.Stop(); err != nil {
			t.Fatal(err)
		}
		w := &backends.Request{Op: backends.Write, Length: 4096}
		w.Data.AppendBytes(randomBytes(4096))
		end := submit(s, w)
		aborted := tmf(s, &backends.TaskManagement{Function: backends.AbortTask, Task: w, Timeout: 5 * time.Second})
		if err := srv.Cont(); err != nil {
			t.Fatal(err)
		}
		if r, res := get(t, aborted), get(t, end); r != backends.TMComplete && r != backends.TMNoTask ||
			res.Class != backends.Aborted && res.Class != backends.OK {
			t.Errorf("abort answered %v, request ended %+v", r, res)
		}
		if len(end) != 0 {
			t.Error("completed twice")
		}
	}
	verify(t, s)
}

// lioReset: LOGICAL UNIT RESET under load; each request ends once.
func lioReset(t *testing.T, cfg iscsi.Config, srv *lio.Server) {
	s, _ := connectLIO(t, cfg, srv)
	w := newWorkload(s, 32, 4096, false)
	w.start()
	get(t, w.warm)
	if r := get(t, tmf(s, &backends.TaskManagement{Function: backends.LUNReset, Timeout: 10 * time.Second})); r != backends.TMComplete {
		t.Errorf("reset: %v", r)
	}
	w.stop(t)
	t.Logf("%d of the requests did not end well", w.failed.Load())
	for range 3 { // unit attentions
		if exec(t, s, [16]byte{}, 0).Result.OK() {
			break
		}
	}
	verify(t, s)
}

// lioReinstate: a login with the same name and ISID takes the session over. The
// one before is dropped, and what it had sent is over.
func lioReinstate(t *testing.T, cfg iscsi.Config, srv *lio.Server) {
	first, _ := connectLIO(t, cfg, srv)
	verify(t, first)
	second, _ := connectLIO(t, cfg, srv)
	if l := get(t, handlers[first.Nexus()].down); l.Class != backends.LossReset && l.Class != backends.LossLogout {
		t.Errorf("the first session: %v: %v", l.Class, l.Err)
	}
	_ = first.Nexus().Close(t.Context()) // else the two throw each other out
	second.Nexus().Relogin(backends.Route{})
	relogged(t, second)
	verify(t, second)
}
