// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pathgate/gateway"
)

// TestDocs: README.md leads to each page of docs, each command that a page shows is one,
// each configuration is valid, and each link leads to a file.
func TestDocs(t *testing.T) {
	pages, err := os.ReadDir(filepath.Join(repository, "docs"))
	if err != nil {
		t.Fatal(err)
	}
	fromReadme := readReadme(t).links
	commands, configurations := 0, 0
	for _, page := range pages {
		name := "docs/" + page.Name()
		if !slices.Contains(fromReadme, name) {
			t.Errorf("README.md does not lead to %s", name)
		}
		d := readDoc(t, name)
		shown, named := &readme{lines: d.lines}, &readme{spans: d.spans}
		for _, args := range shown.commands("pathgate") {
			commands++
			if err := parses(strings.Fields(strings.ReplaceAll(strings.Join(args, " "), "'", ""))); err != nil {
				t.Errorf("%s: pathgate %s: %v", name, strings.Join(args, " "), err)
			}
		}
		for _, args := range named.commands("pathgate") {
			if err := parses(args); err != nil && !strings.HasSuffix(err.Error(), " is missing") {
				t.Errorf("%s: pathgate %s: %v", name, strings.Join(args, " "), err)
			}
		}
		for _, block := range d.yaml {
			configurations++
			if _, err := gateway.Parse(name, []byte(asConfig(block))); err != nil {
				t.Errorf("%v\n%s", err, block)
			}
		}
		for _, link := range d.links {
			file, _, _ := strings.Cut(link, "#")
			if strings.Contains(link, "://") || file == "" {
				continue
			}
			if _, err := os.Stat(filepath.Join(repository, "docs", file)); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	if commands < 40 || configurations < 8 {
		t.Errorf("%d commands and %d configurations found", commands, configurations)
	}
}

// firstConfig is the first configuration of a page, which is one as it stands.
func firstConfig(t *testing.T, text string) *gateway.Config {
	t.Helper()
	_, rest, _ := strings.Cut(text, "```yaml\n")
	block, _, ok := strings.Cut(rest, "```")
	if !ok {
		t.Fatal("there is no configuration")
	}
	c, err := gateway.Parse("the page", []byte(block))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// asConfig adds to an example of some keys what every configuration with LUNs has.
func asConfig(block string) string {
	for key, text := range map[string]string{
		"adapters": "adapters: [{name: vmhba0, address: 127.0.0.1}]\n",
		"targets":  "targets: [{portals: [127.0.0.1]}]\n",
	} {
		if !strings.Contains("\n"+block, "\n"+key+":") {
			block += text
		}
	}
	return block
}
