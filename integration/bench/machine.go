// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strings"
)

// Machine tells what was measured, and on what.
type Machine struct {
	Kernel, Processor string
	Congestion        string // TCP congestion control, which loopback has to bear too
	Cores             int
	Load              string   // of the last minute, before anything was started
	Versions          []string // of every program that takes part, one line each
	Settings          []string // environment that changes a Go program's speed
}

// inspect asks the programs for their versions.
func inspect(ctx context.Context, pathgate string) (Machine, error) {
	m := Machine{Cores: runtime.NumCPU(), Processor: processor()}
	var err error
	if m.Kernel, err = firstLine(ctx, "uname", "-sr"); err != nil {
		return m, err
	}
	congestion, err := os.ReadFile("/proc/sys/net/ipv4/tcp_congestion_control")
	if err != nil {
		return m, err
	}
	m.Congestion = strings.TrimSpace(string(congestion))
	m.Load = load()
	for _, c := range [][]string{
		{pathgate, "version"},
		{"qemu-nbd", "--version"},
		{"qemu-img", "--version"},
		{"nbdkit", "--version"},
		{"fio", "--version"},
		{"tgtd", "--version"},
	} {
		line, err := firstLine(ctx, c[0], c[1:]...)
		if err != nil {
			return m, fmt.Errorf("version: %w", err)
		}
		if c[0] == "tgtd" {
			line = "tgtd " + line
		}
		m.Versions = append(m.Versions, line)
	}
	if deb, err := firstLine(ctx, "dpkg-query", "-W", "-f", "iscsi-perf of ${Package} ${Version}", "libiscsi-bin"); err == nil {
		m.Versions = append(m.Versions, deb) // it does not know its version itself
	}
	m.Versions = append(m.Versions, moduleVersion("gotgt", "github.com/gostor/gotgt"),
		moduleVersion("go-nbd", "github.com/pojntfx/go-nbd"), runtime.Version())
	for _, name := range []string{"GOGC", "GOMAXPROCS", "GOMEMLIMIT"} {
		if v, ok := os.LookupEnv(name); ok {
			m.Settings = append(m.Settings, name+"="+v)
		}
	}
	return m, nil
}

// load is the first figure of proc(5) "loadavg": on a machine that was not idle
// the rates say little.
func load() string {
	b, err := os.ReadFile("/proc/loadavg")
	first, _, ok := strings.Cut(string(b), " ")
	if err != nil || !ok {
		return "unknown"
	}
	return first
}

func firstLine(ctx context.Context, name string, args ...string) (string, error) {
	out, err := output(ctx, name, args...)
	line, _, _ := strings.Cut(strings.TrimSpace(out), "\n")
	return line, err
}

func processor() string {
	b, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return "unknown processor"
	}
	for line := range strings.Lines(string(b)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "unknown processor"
}
