// SPDX-License-Identifier: Apache-2.0

package main

import (
	"regexp"
	"strings"
	"testing"

	"pathgate/gateway"
	"pathgate/multipath"
)

// TestClaimRulesDoc holds docs/claim-rules.md against the program: the example is a
// configuration without a warning, the commands parse, and all keys are told of.
func TestClaimRulesDoc(t *testing.T) {
	text := readFile(t, "docs/claim-rules.md")
	yaml := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindStringSubmatch(text)
	if yaml == nil {
		t.Fatal("no example")
	}
	cfg, err := gateway.Parse("claim-rules.md", []byte(yaml[1]))
	if err != nil {
		t.Fatal(err)
	}
	if len(cfg.Claims) != 3 || len(cfg.Warnings()) != 0 {
		t.Errorf("%d rules, warnings %v", len(cfg.Claims), cfg.Warnings())
	}
	commands := 0
	for line := range strings.Lines(text) {
		code, ok := strings.CutPrefix(line, "    pathgate ")
		if !ok {
			continue
		}
		commands++
		if err := parses(strings.Fields(strings.ReplaceAll(code, "'", ""))); err != nil {
			t.Errorf("%s: %v", code, err)
		}
	}
	if commands < 6 {
		t.Errorf("%d commands", commands)
	}
	for _, key := range multipath.ClaimKeys() {
		if !strings.Contains(text, "`"+key+"`") {
			t.Errorf("the key %s is not told of", key)
		}
	}
}
