// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// crashDirEnv is set in the child only.
const crashDirEnv = "PATHGATE_TEST_CRASH_STORE"

// TestStoreCrashChild is the child of TestStoreSurvivesKill, and nothing by itself.
func TestStoreCrashChild(t *testing.T) {
	if dir := os.Getenv(crashDirEnv); dir != "" {
		t.Fatal(crashChild(dir, os.Stdout))
	}
}

// crashChild changes the store for ever and says each change after it is durable.
// The line "name value" says that name now has value; "-" that it is gone.
func crashChild(dir string, w io.Writer) error {
	s, err := OpenStore(dir)
	if err != nil {
		return err
	}
	epoch, _, err := s.Begin()
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "epoch %d\n", epoch)
	for i := 0; ; i++ {
		name := fmt.Sprintf("%d-%d", epoch, i)
		n, err := s.TargetNumber(TargetKey{name, "h:1"})
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "target-%s %d\n", name, n)
		isid, err := s.ISID(ISIDKey{"a", name, 1, "h:1"})
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "isid-%s %x\n", name, isid)
		g := crashGhost(epoch, uint32(i))
		if err := s.PutGhosts(g); err != nil {
			return err
		}
		fmt.Fprintf(w, "ghost-%d-%d held\n", epoch, i)
		if err := s.PutShareOverrides(crashShares(name, epoch)); err != nil {
			return err
		}
		fmt.Fprintf(w, "share-%s %d\n", name, epoch)
		if i%3 == 2 {
			if err := s.DeleteGhosts(crashGhost(epoch, uint32(i-1))); err != nil {
				return err
			}
			fmt.Fprintf(w, "ghost-%d-%d -\n", epoch, i-1)
		}
	}
}

func crashGhost(epoch uint64, i uint32) GhostRecord {
	return GhostRecord{Device: "naa.1", Offset: uint64(i) * 4096, Length: 4096, Path: "vmhba0:0:1", Epoch: epoch, ITT: i}
}

// crashShares is one change of two objects.
func crashShares(name string, epoch uint64) ShareOverrides {
	return ShareOverrides{
		Disks: map[string]ShareOverride{name: {Shares: ptr(int64(epoch))}},
		VMs:   map[string]VMOverride{name: {Priority: ptr(int64(epoch))}},
	}
}

// crashState is the store's content in the words of crashChild.
func crashState(t *testing.T, s *Store) map[string]string {
	t.Helper()
	state := make(map[string]string)
	for k, n := range must[map[TargetKey]int](t)(s.Targets()) {
		state["target-"+k.Target] = fmt.Sprint(n)
	}
	for k, isid := range must[map[ISIDKey][6]byte](t)(s.ISIDs()) {
		state["isid-"+k.Target] = fmt.Sprintf("%x", isid)
	}
	for _, g := range must[[]GhostRecord](t)(s.Ghosts()) {
		if g != crashGhost(g.Epoch, g.ITT) {
			t.Errorf("ghost %+v is not what was written", g)
		}
		state[fmt.Sprintf("ghost-%d-%d", g.Epoch, g.ITT)] = "held"
	}
	o := must[ShareOverrides](t)(s.ShareOverrides())
	for name, d := range o.Disks {
		state["share-"+name] = fmt.Sprint(*d.Shares)
		if vm := o.VMs[name]; vm.Priority == nil || *vm.Priority != *d.Shares {
			t.Errorf("half of the change %s is there", name)
		}
	}
	if len(o.VMs) != len(o.Disks) {
		t.Errorf("changes of %d VMs and %d disks", len(o.VMs), len(o.Disks))
	}
	return state
}

// TestStoreSurvivesKill kills a process that changes the store, again and again:
// whatever it said was durable must be there, and the end must not look clean.
func TestStoreSurvivesKill(t *testing.T) {
	dir := t.TempDir()
	want := make(map[string]string) // all that was ever said
	rng := rand.New(rand.NewPCG(7, 11))
	const rounds = 40
	lines := 0
	for round := range rounds {
		for _, line := range runAndKill(t, dir, rng.IntN(40)+2) {
			name, val, ok := strings.Cut(line, " ")
			if !ok {
				t.Fatalf("round %d: the child said %q", round, line)
			}
			want[name] = val
			lines++
		}
		if got := want["epoch"]; got != fmt.Sprint(2*round+1) {
			t.Fatalf("round %d: epoch %s, want %d", round, got, 2*round+1)
		}
		s := openStore(t, dir)
		if epoch, clean, err := s.Begin(); clean || err != nil || epoch != uint64(2*round+2) {
			t.Fatalf("round %d: Begin = %d, %v, %v", round, epoch, clean, err)
		}
		compareCrash(t, round, want, crashState(t, s))
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if t.Failed() {
			return
		}
	}
	t.Logf("%d rounds, %d durable changes", rounds, lines)
}

// compareCrash allows what was done and not yet said, and nothing else.
func compareCrash(t *testing.T, round int, want, got map[string]string) {
	t.Helper()
	for name, val := range want {
		switch have, ok := got[name]; {
		case name == "epoch":
		case val == "-" && ok:
			t.Errorf("round %d: %s came back", round, name)
		case val != "-" && !ok && !strings.HasPrefix(name, "ghost-"):
			t.Errorf("round %d: %s %s is lost", round, name, val)
		case val != "-" && ok && have != val:
			t.Errorf("round %d: %s is %s, want %s", round, name, have, val)
		}
	}
	for name, val := range want {
		if _, ok := got[name]; val == "held" && !ok && !removalUnsaid(t, want, name) {
			t.Errorf("round %d: %s is lost", round, name)
		}
	}
	extra := 0
	for name := range got {
		if _, ok := want[name]; !ok {
			extra++
		}
	}
	if extra > round+1 {
		t.Errorf("round %d: %d changes were never said, at most one a round can be", round, extra)
	}
	numbers := make(map[string]string)
	for name, val := range got {
		kind, _, _ := strings.Cut(name, "-")
		if other, dup := numbers[kind+val]; dup && kind != "ghost" && kind != "share" {
			t.Errorf("round %d: %s and %s are both %s", round, name, other, val)
		}
		numbers[kind+val] = name
	}
}

// removalUnsaid tells whether the child was killed between removing a ghost and
// saying so: it had put the next ghost and not begun with the one after.
func removalUnsaid(t *testing.T, want map[string]string, name string) bool {
	t.Helper()
	var epoch, i int
	if _, err := fmt.Sscanf(name, "ghost-%d-%d", &epoch, &i); err != nil {
		t.Fatal(err)
	}
	_, begun := want[fmt.Sprintf("target-%d-%d", epoch, i+2)]
	return i%3 == 1 && want[fmt.Sprintf("ghost-%d-%d", epoch, i+1)] == "held" && !begun
}

// runAndKill starts the child, kills it after it has said n lines, and gives all
// whole lines that it said.
func runAndKill(t *testing.T, dir string, n int) (lines []string) {
	t.Helper()
	cmd := exec.Command(must[string](t)(os.Executable()), "-test.run=^TestStoreCrashChild$")
	cmd.Env = append(os.Environ(), crashDirEnv+"="+dir)
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(out)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			break // a line without its end was not said
		}
		lines = append(lines, strings.TrimSuffix(line, "\n"))
		if len(lines) == n {
			if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
		}
	}
	_ = cmd.Wait()
	if ws, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || ws.Signal() != syscall.SIGKILL {
		t.Fatalf("the child was not killed but ended by itself: %v: %s", cmd.ProcessState, errs.String())
	}
	return lines
}
