// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"pathgate/integration/nbdclient"
)

func TestParseFio(t *testing.T) {
	const report = `note: both iodepth >= 1 and synchronous I/O engine are selected
{"jobs": [{"jobname": "bench", "error": %d,
  "read": {"total_ios": 4000, "runtime": 2000}, "write": {"total_ios": %d, "runtime": 500}}]}`
	good := fmt.Sprintf(report, 0, 100)
	for _, c := range []struct {
		name, out string
		write     bool
		want      Sample
		ok        bool
	}{
		{"read", good, false, Sample{IOs: 4000, Seconds: 2}, true},
		{"write", good, true, Sample{IOs: 100, Seconds: 0.5}, true},
		{"error of the job", fmt.Sprintf(report, 5, 100), false, Sample{}, false},
		{"no I/O", fmt.Sprintf(report, 0, 0), true, Sample{}, false},
		{"no job", `{"jobs": []}`, false, Sample{}, false},
		{"cut", good[:len(good)-3], false, Sample{}, false},
		{"no JSON", "fio: engine nbd not loadable", false, Sample{}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := parseFio(c.out, Job{Write: c.write})
			if (err == nil) != c.ok || got != c.want {
				t.Errorf("got %v, %v, want %v, ok %v", got, err, c.want, c.ok)
			}
		})
	}
	const two = `{"jobs": [{"read": {"total_ios": 300, "runtime": 1000}}, {"read": {"total_ios": 100, "runtime": 1250}}]}`
	if got, err := parseFio(two, Job{VMs: 2}); err != nil || got != (Sample{IOs: 400, Seconds: 1.25}) {
		t.Errorf("two VMs: got %v, %v", got, err)
	}
	if got, err := parseFio(two, Job{Connections: 2}); err != nil || got != (Sample{IOs: 400, Seconds: 1.25}) {
		t.Errorf("two connections: got %v, %v", got, err)
	}
	if got, err := parseFio(two, Job{VMs: 3}); err == nil {
		t.Errorf("two of three VMs: got %v, want an error", got)
	}
}

func TestParseQemuImg(t *testing.T) {
	got, err := parseQemuImg("Sending 10 read requests, 4096 bytes each\nRun completed in 1.250 seconds.\n")
	if err != nil || got != 1.25 {
		t.Errorf("got %v, %v, want 1.25", got, err)
	}
	for _, out := range []string{"", "Run completed in 0.000 seconds.", "Run completed in 1..2 seconds."} {
		if got, err := parseQemuImg(out); err == nil {
			t.Errorf("%q gave %v, want an error", out, got)
		}
	}
}

func TestParseStat(t *testing.T) {
	fields := "S 1 2 3 4 -1 6 7 8 9 10 1234 66 0 0 20 0 5 0"
	for _, comm := range []string{"qemu-nbd", "a b", ") S 9"} {
		got, err := parseStat([]byte("42 (" + comm + ") " + fields))
		if err != nil || got != 13 {
			t.Errorf("command %q: got %v, %v, want 13 s", comm, got, err)
		}
	}
	for _, bad := range []string{"", "42 (x) S 1 2", "42 (x) S 1 2 3 4 -1 6 7 8 9 10 -1 66"} {
		if got, err := parseStat([]byte(bad)); err == nil {
			t.Errorf("%q gave %v, want an error", bad, got)
		}
	}
}

// usage is the CPU time of this process; a busy machine may give it little.
func usage(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func TestOwnProcess(t *testing.T) {
	before, err := cpuSeconds(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	for start := usage(t); usage(t)-start < 50*time.Millisecond; {
	}
	after, err := cpuSeconds(os.Getpid())
	if err != nil || after-before < 0.03 { // two ticks of the clock less
		t.Errorf("50 ms of work: got %v s more, %v", after-before, err)
	}
	if rss, err := residentBytes(os.Getpid()); err != nil || rss < 1<<20 {
		t.Errorf("got %d bytes resident, %v", rss, err)
	}
	if _, err := cpuSeconds(-1); err == nil {
		t.Error("a process that is not there has CPU time")
	}
}

func TestSummarize(t *testing.T) {
	for _, c := range []struct {
		in   []float64
		want summary
	}{
		{[]float64{3}, summary{3, 3, 3}},
		{[]float64{4, 1}, summary{2.5, 1, 4}},
		{[]float64{9, 1, 2}, summary{2, 1, 9}},
	} {
		if got := summarize(c.in); got != c.want {
			t.Errorf("%v: got %+v, want %+v", c.in, got, c.want)
		}
	}
	if got := (summary{median: 2, low: 1, high: 4}).spread(); got != 1.5 {
		t.Errorf("spread: got %v, want 1.5", got)
	}
}

func TestVerdict(t *testing.T) {
	for _, c := range []struct {
		ratios []float64
		want   string
	}{
		{[]float64{1.1, 1.2, 1.01}, "faster"},
		{[]float64{0.9, 0.8, 0.99}, "slower"},
		{[]float64{0.9, 1.2, 1.3}, "within noise"},
		{[]float64{2, 2}, "not told"},
	} {
		s := summarize(c.ratios)
		if got := verdict(c.ratios, s.low, s.high); got != c.want {
			t.Errorf("%v: got %q, want %q", c.ratios, got, c.want)
		}
	}
}

// TestMarkdown pins what is divided by what, in a report of two contenders and
// three rounds.
func TestMarkdown(t *testing.T) {
	ours, theirs := &contender{name: "ours"}, &contender{name: "theirs"}
	g := &group{title: "On memory", contenders: []*contender{ours, theirs}, reference: 1}
	job := Jobs()[1]
	r := &Report{
		Options: Options{Rounds: 3, Seconds: 2, Seed: 7}, groups: []*group{g},
		Machine: Machine{Kernel: "Linux 6.1", Cores: 2, Congestion: "cubic", Load: "0.10", Versions: []string{"ours 1"}, Settings: []string{"GOGC=200"}},
		Idle:    &Idle{Connections: 1000, Before: 10 << 20, Open: 20 << 20, Used: 30 << 20},
		rows: []*row{{group: g, client: "fio", job: job, series: []series{
			{ours, []Sample{{20000, 1, 0.2, 0}, {30000, 1, 0.3, 0}, {40000, 1, 0.4, 0}}},
			{theirs, []Sample{{10000, 1, 0.2, 0}, {15000, 1, 0.3, 0}, {10000, 1, 0.2, 0}}},
		}}},
	}
	text := r.Markdown()
	for _, want := range []string{
		"3 rounds of 2 s", "seed 7", "Linux 6.1, 2 cores", "congestion control cubic", "before the run: 0.10", "ours 1; GOGC=200",
		"| 4k random read, depth 32 | 30.0 kIOPS | 10.0 kIOPS | 2.00 (2.00-4.00) | faster |",
		"| 4k random read, depth 32 | 10.0 | 20.0 | 0.50 (0.50-0.50) |",
		"10.0 MiB before, 20.0 MiB with 1000 idle NBD connections (10.2 KiB each), 30.0 MiB after",
		"lie apart by 58 % of their median (median of all series; the worst 67 %)",
		"| 4k random read, depth 32, fio, ours | 30000 (20000-40000) | 10.0 (10.0-10.0) | - |",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the report lacks %q:\n%s", want, text)
		}
	}
}

func TestRate(t *testing.T) {
	jobs := Jobs()
	if got := jobs[0].rate(12345); got != "12.3 kIOPS" {
		t.Errorf("got %q", got)
	}
	if got := jobs[4].rate(1000); got != "262 MB/s" {
		t.Errorf("got %q", got)
	}
}

func TestServeMemory(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- ServeMemory(ctx, socket, 1<<20) }()
	c := (&contender{}).nbd(socket, "disk")
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for c.opens(t.Context()) != nil {
		select {
		case err := <-served:
			t.Fatal(err)
		case <-tick.C:
		}
	}
	cl, err := nbdclient.Connect(t.Context(), nbdclient.Config{Addr: "unix:" + socket, Export: "disk"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cl.WriteAt([]byte("abcd"), 512); err == nil && cl.Size() != 1<<20 {
		t.Errorf("got a disk of %d bytes", cl.Size())
	}
	cl.Close()
	cancel()
	if err := <-served; err != nil {
		t.Error(err)
	}
}

func TestRunErrors(t *testing.T) {
	for name, o := range map[string]Options{
		"no round":   {Seconds: 1},
		"no time":    {Rounds: 1},
		"no program": {Rounds: 1, Seconds: 1, Pathgate: "/nonexistent/pathgate"},
	} {
		if _, err := Run(t.Context(), o); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestProcessThatEnds(t *testing.T) {
	dir := t.TempDir()
	_, err := startProcess(t.Context(), dir, "x", accepts(dir+"/none"), "sh", "-c", "echo cannot; exit 3")
	if err == nil || !strings.Contains(err.Error(), "cannot") || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("got %v, want what it said and its status", err)
	}
}
