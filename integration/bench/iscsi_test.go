// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
)

func TestParseIscsiPerf(t *testing.T) {
	const (
		head   = "iscsi-perf version 0.1\n\nconnected to iscsi://x/y/0\nwill run for 2 seconds.\n\n"
		middle = "\r00:00:01 - lba 408273, iops current 50321 (196 MB/s), iops average 50321 (196 MB/s), in_flight 32, busy 0        "
		end    = "\riops average 46423 (181 MB/s)                       \n\nfinished.\n"
	)
	for _, c := range []struct {
		name, out string
		want      int64
		ok        bool
	}{
		{"one second", head + end, 46423, true},
		{"two seconds", head + middle + end, 46423, true},
		{"cut", head + middle, 0, false},
		{"not at the end", head + middle + "\n\nfinished.\n", 0, false},
		{"nothing done", head + "\riops average 0 (0 MB/s)   \n\nfinished.\n", 0, false},
		{"a read failed", head + "Read10/16 failed with SCSI command timeout\n" + end, 0, false},
		{"lost", head + middle + "iscsi_service failed with : lost" + end, 0, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := parseIscsiPerf(c.out)
			if (err == nil) != c.ok || got != c.want {
				t.Errorf("got %v, %v, want %v, ok %v", got, err, c.want, c.ok)
			}
		})
	}
}

func TestClientsOfISCSI(t *testing.T) {
	var names []string
	for _, j := range iscsiJobs() {
		names = append(names, j.Name)
		if (iscsiPerf{}).does(j) == j.Write {
			t.Errorf("iscsi-perf only reads: %s", j.Name)
		}
	}
	const want = "4k random read, depth 1; 4k random read, depth 32; 4k random read, depth 128; " +
		"4k random write, depth 1; 4k random write, depth 32; 4k random write, depth 128; " +
		"256k sequential read, depth 8; 256k sequential write, depth 8"
	if got := strings.Join(names, "; "); got != want {
		t.Errorf("jobs %s", got)
	}
	if len(Jobs()) != 6 {
		t.Error("the other jobs have changed")
	}
	overISCSI, overNBD := &contender{image: "iscsi://x", lun: "iscsi://x"}, (&contender{}).nbd("s", "disk")
	for _, cl := range allClients()[:3] { // further ones choose a dialect of NBD
		if got, want := cl.can(overISCSI), cl.name() != "fio"; got != want {
			t.Errorf("%s over iSCSI: %v", cl.name(), got)
		}
		if got, want := cl.can(overNBD), cl.name() != "iscsi-perf"; got != want {
			t.Errorf("%s over NBD: %v", cl.name(), got)
		}
	}
}

// failing is a client whose first runs fail.
type failing struct {
	iscsiPerf
	failures int
	asked    float64
}

func (f *failing) run(_ context.Context, _ *contender, _ Job, seconds float64, _ uint64) (Sample, error) {
	f.asked = seconds
	if f.failures--; f.failures >= 0 {
		return Sample{}, errors.New("it hangs")
	}
	return Sample{IOs: 1, Seconds: seconds}, nil
}

// TestAttempts: only a contender that may fail is measured again, and never for
// longer than it lasts.
func TestAttempts(t *testing.T) {
	for _, c := range []struct {
		name               string
		attempts, failures int
		ok                 bool
		again              int
	}{
		{"sound", 0, 0, true, 0},
		{"no second try", 0, 1, false, 0},
		{"a third try", 3, 2, true, 2},
		{"no fourth try", 3, 3, false, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			cl := &failing{failures: c.failures}
			on := &contender{pid: os.Getpid, longest: 4, attempts: c.attempts}
			s, err := measure(t.Context(), cl, on, Job{}, 9, 1)
			if (err == nil) != c.ok || on.again != c.again || cl.asked != 4 || c.ok && s.Seconds != 4 {
				t.Errorf("got %+v, %v, again %d, for %g s", s, err, on.again, cl.asked)
			}
		})
	}
	calls := 0
	restarted := &contender{pid: func() int {
		if calls++; calls > 3 {
			return os.Getppid()
		}
		return os.Getpid()
	}}
	if s, err := measure(t.Context(), &failing{}, restarted, Job{}, 1, 1); err == nil {
		t.Errorf("a server that was started again: got %+v", s)
	}
}

// TestMarkdownOfISCSI pins the table of the bar, and the target's part of the CPU time.
func TestMarkdownOfISCSI(t *testing.T) {
	ours, theirs := &contender{name: "ours", target: os.Getpid}, &contender{name: "theirs", again: 2}
	g := &group{title: "iSCSI", contenders: []*contender{ours, theirs}, reference: 1, thrift: 1.5}
	r := &Report{Options: Options{Rounds: 3}, groups: []*group{g}}
	for _, j := range iscsiJobs()[:2] {
		r.rows = append(r.rows, &row{group: g, client: "iscsi-perf", job: j, series: []series{
			{ours, []Sample{{20000, 1, 0.2, 0.1}, {30000, 1, 0.3, 0.1}, {40000, 1, 0.5, 0.4}}},
			{theirs, []Sample{{10000, 1, 0.2, 0}, {15000, 1, 0.3, 0}, {10000, 1, 0.2, 0}}},
		}})
	}
	text := r.Markdown()
	for _, want := range []string{
		"\n2 measurements of theirs failed and were made again.\n",
		"### Rate, iscsi-perf\n",
		"| job | ours | theirs | ours / theirs | target of ours |",
		"| 4k random read, depth 32 | 10.0 | 20.0 | 0.50 (0.50-0.62) | 5.0 |",
		"### I/Os for each second of the server's CPU time, iscsi-perf\n",
		"| 4k random read, depth 1 | 100.0k | 50.0k | 2.00 (1.60-2.00) |  |",
		"| 4k random read, depth 32 | 100.0k | 50.0k | 2.00 (1.60-2.00) | 1.50: met |",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the report lacks %q:\n%s", want, text)
		}
	}
	g.thrift = 3
	if want, text := "| 3.00: not met |", r.Markdown(); !strings.Contains(text, want) {
		t.Errorf("with a higher bar the report lacks %q:\n%s", want, text)
	}
}
