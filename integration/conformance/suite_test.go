// SPDX-License-Identifier: Apache-2.0

//go:build integration

package conformance

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"pathgate/gateway/iscsi"
)

var update = flag.Bool("update", false, "write testdata/conformance.txt")

// suiteBugs are tests of libiscsi 1.19 that no target passes: they fail, or crash
// themselves. Their result is BUG.
var suiteBugs = map[string]string{
	// It asserts, before the response can have come, what the response's callback
	// sets. Mended in libiscsi by 5553d6b (2020).
	"ALL.iSCSITMF.LUNResetSimpleAsync": "the suite's own bug: it looks at the outcome before there is one",
}

// workersPerCPU: some tests only wait, for three seconds.
const workersPerCPU = 3

const golden = "testdata/conformance.txt"

// verdict is how a test of the suite ended.
type verdict struct{ name, result, why string }

var (
	asserts = regexp.MustCompile(`(?m)^ *asserts +\d+ +\d+ +\d+ +(\d+)`)
	skipped = regexp.MustCompile(`(?m)\[SKIPPED\] *(.*)$`)
)

// runOne runs one test of the suite in a process of its own, on a disk of its own.
func runOne(ctx context.Context, portal, name string) (verdict, string) {
	url := "iscsi://" + portal + "/" + prefix + strings.ToLower(strings.ReplaceAll(name, "_", "-")) + "/0"
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	out, _ := exec.CommandContext(ctx, "iscsi-test-cu", "--dataloss", "-g", "-n", "-t", name, url, url).CombinedOutput()
	v := verdict{name: name, result: "CRASH"}
	if m := asserts.FindSubmatch(out); m != nil {
		v.result = "FAIL"
		if string(m[1]) == "0" {
			v.result = "PASS"
		}
	}
	if ctx.Err() != nil {
		v.result = "HANG"
	}
	if m := skipped.FindSubmatch(out); m != nil && v.result == "PASS" {
		v.result, v.why = "SKIP", strings.TrimSpace(string(m[1]))
	}
	if why, ok := suiteBugs[name]; ok && (v.result == "FAIL" || v.result == "CRASH") {
		v.result, v.why = "BUG", why
	}
	return v, string(out)
}

// list gives the names of all tests.
func list(t *testing.T) (names []string) {
	t.Helper()
	out, err := exec.Command("iscsi-test-cu", "-l").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Fields(string(out)) {
		if strings.HasPrefix(line, "ALL.") && strings.Count(line, ".") == 2 {
			names = append(names, line)
		}
	}
	return names
}

// runAll runs tests, several at a time, and gives their verdicts in order.
func runAll(t *testing.T, portal string, names []string) ([]verdict, []string) {
	verdicts, outputs := make([]verdict, len(names)), make([]string, len(names))
	next := make(chan int)
	var workers sync.WaitGroup
	for range workersPerCPU * runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for i := range next {
				verdicts[i], outputs[i] = runOne(t.Context(), portal, names[i])
			}
		})
	}
	for i := range names {
		next <- i
	}
	close(next)
	workers.Wait()
	return verdicts, outputs
}

// TestConformance runs iscsi-test-cu of libiscsi, all families. A result that is not
// the expected one is an error, also when it is better.
func TestConformance(t *testing.T) {
	names := list(t)
	got, outputs := runAll(t, serve(t, iscsi.Config{}), names)
	count := map[string]int{}
	var b strings.Builder
	for _, v := range got {
		count[v.result]++
		line := v.result + " " + v.name
		if v.why != "" {
			line += "  # " + v.why
		}
		b.WriteString(line + "\n")
	}
	t.Logf("%d tests: %d passed, %d failed, %d skipped", len(got), count["PASS"], count["FAIL"], count["SKIP"])
	if *update {
		if err := os.WriteFile(golden, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	data, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{}
	for line := range strings.Lines(string(data)) {
		line, _, _ = strings.Cut(line, "  #")
		result, name, _ := strings.Cut(strings.TrimSpace(line), " ")
		want[name] = result
	}
	for i, v := range got {
		if v.result != want[v.name] {
			t.Errorf("%s: %s, want %s\n%s", v.name, v.result, want[v.name], tail(outputs[i]))
		}
	}
	if len(want) != len(got) {
		t.Errorf("%d tests, want %d", len(got), len(want))
	}
}

// tail gives the end of what a test has printed.
func tail(s string) string {
	lines := strings.Split(s, "\n")
	return fmt.Sprintf("... %s", strings.Join(lines[max(0, len(lines)-25):], "\n"))
}
