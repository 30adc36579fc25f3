// SPDX-License-Identifier: Apache-2.0

//go:build integration

package operate

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"pathgate/integration/gate"
	"pathgate/integration/internal/port"
)

// TestDocsCommands gives every command that a file of docs/ shows to one gateway, in its
// order. Those of docs/alua.md need port groups, and are given in integration/alua. A
// reservation is taken from another gateway in integration/reserve; here there is none.
// Targets are started in integration/demo, and devices of Linux are made in
// integration/nbdhosts.
func TestDocsCommands(t *testing.T) {
	files, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	portal, err := port.Free(netip.MustParseAddr("127.0.0.1"))
	if err != nil {
		t.Fatal(err)
	}
	b := newBed(t, gate.Config{ISCSI: fmt.Sprintf("{listen: [%q]}", portal.String()), Rules: []string{`{id: "*", all-paths-down: queue, cache: protected, reservation: {mode: exclusive-all-registrants, key: 0x70001}}`}})
	n := 0
	for _, f := range files {
		switch filepath.Base(f) {
		case "alua.md":
			continue
		case "resize.md":
			n += resizes(t, f)
			continue
		}
		for _, args := range commands(t, f) {
			if args[0] == "target" || args[0] == "detach" || slices.Contains(args, "--nbd-device") {
				continue
			}
			n++
			if slices.Contains(args, "-f") {
				follow(t, b.g, args)
				continue
			}
			ctx, cancel := context.WithTimeout(t.Context(), 2*settle)
			_, err := b.g.CLI(ctx, args...)
			cancel()
			if len(args) > 2 && args[1] == "preempt" && err != nil && strings.Contains(err.Error(), ": no such key is registered by others") {
				continue
			}
			if err != nil {
				t.Errorf("%s: %v", filepath.Base(f), err)
			}
		}
		b.settle()
	}
	if n < 30 {
		t.Errorf("%d commands were found", n)
	}
}

// resizes gives the commands of a file to a gateway with a disk in a file, a thousandth
// as large as there.
func resizes(t *testing.T, file string) int {
	t.Helper()
	disk := fmt.Sprintf("{name: root, file: %q, size: 10MiB, max-size: 40MiB}", filepath.Join(t.TempDir(), "root"))
	g := gate.New(t, gate.Config{Disks: []string{disk}})
	g.WaitDisks(t, settle, func(list []gate.Disk) bool { return len(list) == 1 && list[0].Available })
	list := commands(t, file)
	for _, args := range list {
		if slices.Contains(args, "-f") {
			follow(t, g, args)
			continue
		}
		for i := range args {
			args[i] = strings.Replace(args[i], "GiB", "MiB", 1)
		}
		g.MustCLI(t, args...)
	}
	return len(list)
}

// follow gives a gateway a command that goes on until it is ended, and ends it once it
// has told something.
func follow(t *testing.T, g *gate.Gate, args []string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), settle)
	defer cancel()
	lines, err := g.Stream(ctx, args...)
	if err != nil {
		t.Fatal(err)
	}
	line := <-lines
	if line == "" {
		t.Errorf("%s: told nothing", strings.Join(args, " "))
	}
	cancel()
	for range lines {
	}
}

// commands are those of pathgate in the code blocks of a file.
func commands(t *testing.T, file string) (list [][]string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	comment := regexp.MustCompile(`\s#.*`)
	block := false
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "```") {
			block = !block
			continue
		}
		code, indented := strings.CutPrefix(line, "    ")
		if args, ok := strings.CutPrefix(code, "pathgate "); ok && (block || indented) {
			list = append(list, strings.Fields(strings.ReplaceAll(comment.ReplaceAllString(args, ""), "'", "")))
		}
	}
	return list
}
