// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"pathgate/gateway"
)

const repository = "../.."

// readme is README.md, taken apart.
type readme struct {
	lines []string          // of all code blocks, comments cut off
	yaml  []string          // whole blocks
	spans []string          // inline code
	links []string          // targets
	list  map[string]string // entries of "Dependencies": module and version
}

var (
	spanSyntax = regexp.MustCompile("`([^`]+)`")
	linkSyntax = regexp.MustCompile(`\]\(([^)]+)\)`)
	entry      = regexp.MustCompile("^- `([^ `]+) (v[^ `]+)`: .{20}")
	comment    = regexp.MustCompile(`(^|\s)#.*`)
)

func readReadme(t *testing.T) *readme { return readDoc(t, "README.md") }

// readDoc takes another page apart likewise.
func readDoc(t *testing.T, name string) *readme {
	t.Helper()
	r := &readme{list: map[string]string{}}
	fence, section := "", ""
	var block []string
	for line := range strings.Lines(readFile(t, name)) {
		line = strings.TrimSuffix(line, "\n")
		code, indented := strings.CutPrefix(line, "    ")
		switch {
		case strings.HasPrefix(line, "```") && fence == "":
			fence, block = line, nil
		case line == "```":
			if fence == "```yaml" {
				r.yaml = append(r.yaml, strings.Join(block, "\n")+"\n")
			}
			fence = ""
		case fence != "":
			block = append(block, line)
			r.code(line)
		case indented:
			r.code(code)
		default:
			if name, ok := strings.CutPrefix(line, "## "); ok {
				section = name
			}
			if m := entry.FindStringSubmatch(line); m != nil && section == "Dependencies" {
				r.list[m[1]] = m[2]
			}
			for _, m := range spanSyntax.FindAllStringSubmatch(line, -1) {
				r.spans = append(r.spans, m[1])
			}
			for _, m := range linkSyntax.FindAllStringSubmatch(line, -1) {
				r.links = append(r.links, m[1])
			}
		}
	}
	return r
}

func (r *readme) code(line string) {
	if line = strings.TrimSpace(comment.ReplaceAllString(line, "")); line != "" {
		r.lines = append(r.lines, line)
	}
}

// commands gives the code lines and spans that call program, without its name.
func (r *readme) commands(program string) (found [][]string) {
	for _, line := range slices.Concat(r.lines, r.spans) {
		if words := strings.Fields(line); len(words) > 1 && filepath.Base(words[0]) == program {
			found = append(found, words[1:])
		}
	}
	return found
}

// config gives the example, which must be the only one.
func (r *readme) config(t *testing.T) *gateway.Config {
	t.Helper()
	if len(r.yaml) != 1 {
		t.Fatalf("%d YAML blocks, want 1", len(r.yaml))
	}
	c, err := gateway.Parse("README.md", []byte(r.yaml[0]))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func readFile(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(repository, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// parses checks a command line with the command tree, without running it.
func parses(args []string) error {
	cmd, rest, err := newRootCmd().Find(args)
	if err != nil {
		return err
	}
	if !cmd.Runnable() || cmd.HasSubCommands() {
		return fmt.Errorf("%q is no command", cmd.CommandPath())
	}
	if err := cmd.ParseFlags(rest); err != nil {
		return err
	}
	if err := cmd.ValidateRequiredFlags(); err != nil {
		return err
	}
	if err := cmd.ValidateFlagGroups(); err != nil {
		return err
	}
	return cmd.ValidateArgs(cmd.Flags().Args())
}

func TestReadmeCommands(t *testing.T) {
	found := readReadme(t).commands("pathgate")
	if len(found) < 8 {
		t.Errorf("only %d commands found", len(found))
	}
	for _, args := range found {
		if err := parses(args); err != nil {
			t.Errorf("pathgate %s: %v", strings.Join(args, " "), err)
		}
	}
	for _, wrong := range []string{"fly", "path", "path list x", "path disable", "serve", "events --fly", "events --from 1 -n 1"} {
		if parses(strings.Fields(wrong)) == nil {
			t.Errorf("pathgate %s: is taken for right", wrong)
		}
	}
}

// TestReadmeConfig: the example is valid, and the clients shown below it ask for a
// disk that it has, at a socket that it listens on.
func TestReadmeConfig(t *testing.T) {
	r := readReadme(t)
	c := r.config(t)
	var disks, sockets []string
	for _, vm := range c.VMs {
		for _, d := range vm.Disks {
			disks = append(disks, vm.Name+"/"+d.Name)
		}
	}
	for _, l := range c.NBD.Listen {
		sockets = append(sockets, fmt.Sprint(l))
	}
	uris := regexp.MustCompile(`nbd\+unix://[^' ,]+`).FindAllString(strings.Join(r.lines, "\n"), -1)
	if len(uris) == 0 {
		t.Error("no client is shown")
	}
	for _, text := range uris {
		u, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if name := strings.TrimPrefix(u.Path, "/"); !slices.Contains(disks, name) {
			t.Errorf("%s: the example has no disk %q, only %q", text, name, disks)
		}
		if s := "unix:" + u.Query().Get("socket"); !slices.Contains(sockets, s) {
			t.Errorf("%s: the example does not listen on %q, only on %q", text, s, sockets)
		}
	}
}

func TestReadmeMakeTargets(t *testing.T) {
	makefile := readFile(t, "Makefile")
	found := readReadme(t).commands("make")
	if len(found) < 3 {
		t.Errorf("only %d targets found", len(found))
	}
	for _, target := range slices.Concat(found...) {
		if !strings.Contains(makefile, "\n"+target+":") {
			t.Errorf("the Makefile has no %q", target)
		}
	}
	// The other way round: what a target runs is there.
	for _, script := range regexp.MustCompile(`(?m)^\tscripts/\S+`).FindAllString(makefile, -1) {
		if st, err := os.Stat(filepath.Join(repository, script[1:])); err != nil || st.Mode()&0o100 == 0 {
			t.Errorf("Makefile: %s is no program: %v", script[1:], err)
		}
	}
}

// TestReadmeFiles: links lead somewhere, and so do the paths in the text.
func TestReadmeFiles(t *testing.T) {
	r := readReadme(t)
	names := regexp.MustCompile(`^[a-z]+(/[a-z_.]+)*/?$`)
	for _, s := range r.spans {
		if names.MatchString(s) && strings.Contains(s, "/") {
			r.links = append(r.links, s)
		}
	}
	if len(r.links) < 6 {
		t.Errorf("only %d links and paths found", len(r.links))
	}
	for _, l := range r.links {
		if strings.Contains(l, "://") {
			continue
		}
		l, _, _ = strings.Cut(l, "#")
		if _, err := os.Stat(filepath.Join(repository, l)); err != nil {
			t.Error(err)
		}
	}
}

// TestReadmeDependencies: every direct dependency is listed, with its version and a reason.
func TestReadmeDependencies(t *testing.T) {
	r := readReadme(t)
	require := regexp.MustCompile(`(?m)^\t(\S+) (v\S+)$`) // indirect ones have a comment
	for _, m := range require.FindAllStringSubmatch(readFile(t, "go.mod"), -1) {
		if r.list[m[1]] != m[2] {
			t.Errorf("go.mod requires %s %s, README.md tells %q", m[1], m[2], r.list[m[1]])
		}
		delete(r.list, m[1])
	}
	for name := range r.list {
		t.Errorf("README.md tells of %s, which go.mod does not require", name)
	}
}
