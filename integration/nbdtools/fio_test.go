// SPDX-License-Identifier: Apache-2.0

//go:build integration

package nbdtools

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"pathgate/integration/gate"
	"pathgate/integration/proxy"
)

// The load: each connection has a region of its own.
const (
	connections = 16
	depth       = 32
	region      = diskSize / connections
)

// report is what fio tells of its jobs, summed up.
type report struct {
	jobs, errors      int
	written, verified int64 // bytes
}

// fioArgs are 16 connections of one process with 32 requests each.
func (b *bed) fioArgs(more ...string) []string {
	return append([]string{
		"--name=v", "--ioengine=nbd", "--uri=" + b.URI("vm1/root"), "--thread=1", fmt.Sprintf("--numjobs=%d", connections),
		fmt.Sprintf("--iodepth=%d", depth), fmt.Sprintf("--size=%d", region), fmt.Sprintf("--offset_increment=%d", region),
		"--verify=crc32c", "--verify_fatal=1", "--verify_state_save=0", "--output-format=json",
	}, more...)
}

// fio is one running fio.
type fio struct {
	done chan struct{} // closed when what follows is set
	rep  report
	err  error
}

func (f *fio) ended() bool {
	select {
	case <-f.done:
		return true
	default:
		return false
	}
}

// startFIO begins to write all regions in random order and to verify them, over and
// over, for as long as lasts says.
func (b *bed) startFIO(t *testing.T, lasts time.Duration, seed uint64) *fio {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), lasts+limit)
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(ctx, "fio", b.fioArgs("--rw=randwrite", "--bsrange=4k-32k", "--blockalign=4k", "--do_verify=1",
		fmt.Sprintf("--randseed=%d", seed), "--time_based=1", fmt.Sprintf("--runtime=%dms", lasts.Milliseconds()))...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Start(); err != nil {
		cancel()
		t.Fatal(err)
	}
	f := &fio{done: make(chan struct{})}
	go func() {
		defer close(f.done)
		defer cancel()
		f.err = cmd.Wait()
		var err error
		f.rep, err = parse(out.String())
		if f.err = errors.Join(f.err, err); f.err != nil {
			f.err = fmt.Errorf("fio: %w\n%s\n%s", f.err, errs.String(), out.String())
		}
	}()
	t.Cleanup(func() { cancel(); <-f.done })
	return f
}

func parse(text string) (r report, err error) {
	var v struct {
		Jobs []struct {
			Error int
			Write struct {
				Bytes int64 `json:"io_bytes"`
			}
			Read struct {
				Bytes int64 `json:"io_bytes"`
			}
		}
	}
	if err := json.Unmarshal([]byte(text[max(0, strings.Index(text, "{")):]), &v); err != nil {
		return r, err
	}
	for _, j := range v.Jobs {
		r.jobs++
		r.written += j.Write.Bytes
		r.verified += j.Read.Bytes
		if j.Error != 0 {
			r.errors++
		}
	}
	return r, nil
}

// cut is one fault of one path.
type cut struct {
	proxy int
	kind  proxy.Kind
}

// shuffled are n times both kinds of cut of both paths, in an order that seed tells.
func shuffled(n int, seed uint64) (list []cut) {
	for range n {
		for i := range 2 {
			list = append(list, cut{i, proxy.Reset}, cut{i, proxy.BlackHole})
		}
	}
	rand.New(rand.NewPCG(seed, 0)).Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	return list
}

// do makes the fault, waits until the gateway has noticed and takes it back. It tells whether
// requests of f were moved to the other path by it: not so when f just ended.
func (c cut) do(t *testing.T, b *bed, f *fio) bool {
	t.Helper()
	p, other, path := b.proxies[c.proxy], b.proxies[1-c.proxy], b.path(t, c.proxy)
	if !flow(p, f) {
		return false
	}
	mark, before := b.Events.Mark(), p.Counters()
	p.MustSet(proxy.Fault{Kind: c.kind})
	b.Events.Wait(t, mark, limit, func(e gate.Event) bool { return e.Kind == "path-down" && e.Path == path })
	moved := gate.Poll(limit, func() bool {
		return f.ended() || len(b.Events.Since(mark, func(e gate.Event) bool { return e.Kind == "failover" && e.Path == path })) > 0
	}) && !f.ended()
	after := p.Counters()
	if c.kind == proxy.BlackHole {
		moved = flow(other, f) && moved // the load goes on meanwhile
		p.Clear()
	}
	if e, was := after.Fault(c.kind), before.Fault(c.kind); e.Times == was.Times || c.kind == proxy.BlackHole && e.Bytes == was.Bytes {
		t.Errorf("%v of %s hit nothing: %v", c.kind, path, after)
	}
	for _, e := range b.Events.Since(mark, gate.Kind("path-down")) {
		if e.Path != path {
			t.Errorf("%v of %s: a path that was not cut went down: %v", c.kind, path, e)
		}
	}
	b.settle(t)
	return moved
}

// flow waits until p has carried another MiB of f's data; false: f ended before.
func flow(p *proxy.Proxy, f *fio) bool {
	from := p.Counters()
	return gate.Poll(limit, func() bool {
		now := p.Counters()
		return f.ended() || now.ToTarget.DataBytes+now.ToClient.DataBytes > from.ToTarget.DataBytes+from.ToClient.DataBytes+mib
	}) && !f.ended()
}

// verifyUnderCuts runs fio, for lasts and then again for longer and longer, until all cuts
// have hit it and it has verified a good part of the disk: on a slow machine the time may be
// over before what was written is read.
func verifyUnderCuts(t *testing.T, lasts time.Duration, seed uint64, cuts []cut) {
	b := newBed(t)
	var total report
	rounds, made := 0, 0
	for deadline := time.Now().Add(2 * limit); made < len(cuts) || total.verified < diskSize/2; rounds++ {
		if time.Now().After(deadline) {
			t.Fatalf("only %d of %d cuts hit requests in %d rounds, and %d bytes were verified", made, len(cuts), rounds, total.verified)
		}
		f := b.startFIO(t, lasts<<min(rounds, 4), seed+uint64(rounds))
		if !gate.Poll(limit, func() bool { return f.ended() || b.Disks(t)[0].Connections == connections }) || f.ended() {
			t.Fatalf("fio has no %d connections: %v", connections, b.Disks(t))
		}
		for made < len(cuts) && !f.ended() {
			if cuts[made].do(t, b, f) {
				made++
			}
		}
		<-f.done
		if f.err != nil {
			t.Fatal(f.err)
		}
		if f.rep.jobs != connections || f.rep.errors != 0 {
			t.Errorf("fio: %+v", f.rep)
		}
		total.written, total.verified = total.written+f.rep.written, total.verified+f.rep.verified
	}
	t.Logf("measured: fio, %d connections x depth %d, seed %d: %d cuts in %d rounds from %v on, %d MiB written, %d MiB verified, 0 errors",
		connections, depth, seed, made, rounds, lasts, total.written/mib, total.verified/mib)
}

// TestFIOUnderCuts: what 16 connections have written with 32 requests each is what they
// read, while one path after the other is reset or black-holed.
func TestFIOUnderCuts(t *testing.T) {
	verifyUnderCuts(t, 4*time.Second, 1, shuffled(1, 1)[:3])
}

// TestFIOFindsDamage: the same command sees that a byte is wrong.
func TestFIOFindsDamage(t *testing.T) {
	b := newBed(t)
	tool(t, "fio", b.fioArgs("--rw=write", "--bs=64k", "--do_verify=0")...)
	read := b.fioArgs("--rw=read", "--bs=64k", "--verify_only=1")
	tool(t, "fio", read...)
	file, err := os.OpenFile(b.lun, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := file.WriteAt([]byte{'!', '?'}, 7*region+12345); err != nil {
		t.Fatal(err)
	}
	if out, err := try(t, "fio", read...); err == nil {
		t.Errorf("fio verifies what was damaged: %s", out)
	}
}
