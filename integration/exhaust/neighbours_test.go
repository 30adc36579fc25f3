// SPDX-License-Identifier: Apache-2.0

//go:build integration && long

package exhaust

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"pathgate/integration/gate"
	"pathgate/integration/nbdclient"
)

const (
	// rounds of each kind of attack, each with a measurement beside an attack and one beside
	// a process that only burns as much.
	rounds = 3
	// stretch is how long a measurement takes.
	stretch = 700 * time.Millisecond
	// tries is how often a cost is measured again that is more than it may be: the least
	// is the gateway's, and the rest is what else the machine does.
	tries = 6
)

// TestLongP15Neighbours: a flood at one VM's front-end by a process that is held to a
// fifth of a processor costs the gateway no more than it costs the attacker, and what
// the bounds on connections allow; nor does it take the gateway beyond its bounds, and
// all requests of another VM's client are carried out.
func TestLongP15Neighbours(t *testing.T) {
	begun := time.Now()
	g, w := start(t, gate.Config{Env: []string{"GOMEMLIMIT=256MiB"}})
	client := g.Connect(t, "vm2/root")
	descriptors, err := g.FDs()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		names []string
		// most is what of one processor the gateway may spend: several times what it does.
		// It is processor time, which another load does not change as it does what clients
		// get in a second. 0: data is moved, which costs what it costs: shares bound that.
		most float64
	}{
		{[]string{"pings"}, 0.2},
		{[]string{"immediate commands"}, 0.2},
		{[]string{"text"}, 0.2},
		{[]string{"rejected PDUs"}, 0.2},
		{[]string{"connects", "NBD connects"}, 0.6}, // a thousand each second for each
		{[]string{"slow logins", "half logins", "half PDUs", "options"}, 0.6},
		{[]string{"deaf initiators", "deaf NBD clients", "endless writes", "endless NBD writes"}, 0},
		{[]string{"crumbs of data", "early data"}, 0},
	} {
		t.Run(strings.Join(c.names, ", "), func(t *testing.T) {
			alone(t, w, c.names) // what may be done at once
			spent := cost(t, g.Pid(), w, c.names)
			for n := 1; c.most > 0 && spent > c.most && n < tries; n++ {
				t.Logf("%.3f of a processor: measured again", spent)
				spent = min(spent, cost(t, g.Pid(), w, c.names))
			}
			t.Logf("measured: %.3f of a processor; another VM: %s", spent, measure(t, client, w, c.names))
			if c.most > 0 && spent > c.most {
				t.Errorf("the gateway spends %.3f of a processor, want at most %v", spent, c.most)
			}
		})
	}
	if most, limit := status(t, g.Pid(), "VmHWM")<<10, resident(t); most > limit {
		t.Errorf("%d bytes were resident, want at most %d", most, limit)
	}
	left := 0
	if !gate.Poll(time.Minute, func() bool {
		left, err = g.FDs()
		return err == nil && left <= descriptors
	}) {
		t.Errorf("%d descriptors are left, %d at first (%v)", left, descriptors, err)
	}
	// The bound on lines is by time: some tens each second, of some hundred bytes.
	if n, most := len(g.Log()), 1<<20+int(time.Since(begun).Seconds())*64<<10; n > most {
		t.Errorf("%d bytes were logged, want at most %d", n, most)
	}
}

// cost is what of one processor the gateway spends on attacks.
func cost(t *testing.T, pid int, w where, names []string) float64 {
	t.Helper()
	var spent, took time.Duration
	for range rounds {
		begun, before := time.Now(), processor(t, pid)
		alone(t, w, names)
		spent, took = spent+processor(t, pid)-before, took+time.Since(begun)
	}
	return spent.Seconds() / took.Seconds()
}

// measure tells what part of its requests a client can still do beside an attack, as
// the median of some rounds.
func measure(t *testing.T, c *nbdclient.Client, w where, names []string) (figures string) {
	t.Helper()
	var burnt, attacked []int64
	for range rounds {
		burnt = append(burnt, beside(t, c, w, nil))
		attacked = append(attacked, beside(t, c, w, names))
	}
	slices.Sort(burnt)
	slices.Sort(attacked)
	b, a := burnt[rounds/2], attacked[rounds/2]
	return fmt.Sprintf("%d of %d requests (%d-%d, %d-%d)", a, b, attacked[0], attacked[rounds-1], burnt[0], burnt[rounds-1])
}

// processor is the time that the gateway has spent.
func processor(t *testing.T, pid int) time.Duration {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	var ticks int64
	for _, n := range strings.Fields(string(b))[13:15] { // the name has no blank
		k, err := strconv.ParseInt(n, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		ticks += k
	}
	return time.Duration(ticks) * 10 * time.Millisecond // USER_HZ is 100
}

// alone attacks for a while.
func alone(t *testing.T, w where, names []string) {
	t.Helper()
	defer hostile(t, w, names)()
	pause(t.Context(), stretch)
}

// beside counts the requests of a client besides a process that attacks, or burns when
// there is no name.
func beside(t *testing.T, c *nbdclient.Client, w where, names []string) int64 {
	t.Helper()
	defer hostile(t, w, names)()
	var count atomic.Int64
	var all sync.WaitGroup
	end := time.Now().Add(stretch)
	for range 8 {
		all.Go(func() {
			buf := make([]byte, 4096)
			for time.Now().Before(end) {
				if _, err := c.ReadAt(buf, rand.Int64N(8192)*4096); err != nil {
					t.Error(err)
					return
				}
				count.Add(1)
			}
		})
	}
	all.Wait()
	return count.Load()
}

// hostile starts a process that attacks, or burns.
func hostile(t *testing.T, w where, names []string) (end func()) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "EXHAUST="+strings.Join(names, ","), "EXHAUST_PORTAL="+w.Portal, "EXHAUST_NBD="+w.NBD)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	undo := hold(t, cmd.Process)
	end = func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		undo()
	}
	if _, err := out.Read(make([]byte, 1)); err != nil { // it has begun
		end()
		t.Fatalf("%q: %v", names, err)
	}
	return end
}

// hold gives a process a fifth of one processor: by a control group, or where none can
// be made by stopping it four fifths of the time. The result undoes it when the process
// has ended.
func hold(t *testing.T, p *os.Process) (undo func()) {
	t.Helper()
	name := fmt.Sprintf("pathgate-exhaust-%d", p.Pid)
	for _, cg := range []struct{ root, file, value string }{
		{"/sys/fs/cgroup/cpu", "cpu.cfs_quota_us", "20000"},
		{"/sys/fs/cgroup", "cpu.max", "20000 100000"},
	} {
		dir := filepath.Join(cg.root, name)
		if os.Mkdir(dir, 0o755) != nil {
			continue
		}
		if _, err := os.Stat(filepath.Join(dir, cg.file)); err == nil &&
			os.WriteFile(filepath.Join(dir, cg.file), []byte(cg.value), 0) == nil &&
			os.WriteFile(filepath.Join(dir, "cgroup.procs"), fmt.Appendf(nil, "%d", p.Pid), 0) == nil {
			return func() { gate.Poll(10*time.Second, func() bool { return os.Remove(dir) == nil }) }
		}
		_ = os.Remove(dir)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		for ctx.Err() == nil {
			pause(ctx, 20*time.Millisecond)
			_ = p.Signal(syscall.SIGSTOP)
			pause(ctx, 80*time.Millisecond)
			_ = p.Signal(syscall.SIGCONT)
		}
	})
	return func() {
		cancel()
		running.Wait()
	}
}
