// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"flag"
	"io"
	"strings"
	"testing"
)

func TestArguments(t *testing.T) {
	for _, c := range []struct{ name, args, want string }{
		{"two reports", "a.md b.md", "unexpected argument"},
		{"unknown flag", "--speed 9", "not defined"},
		{"no rounds", "--rounds 0 -", "0 rounds"},
		{"no time", "--seconds 0 -", "0 s"},
		{"size of memory", "serve-memory s big", "invalid syntax"},
		{"odd size of memory", "serve-memory s 511", "multiple of 512"},
		{"odd size of memory with schedulers", "serve-scheduled s 511", "multiple of 512"},
		{"size of go-nbd", "serve-go-nbd s -1", "invalid syntax"},
		{"missing program", "--pathgate /nonexistent/pathgate -", "/nonexistent/pathgate version"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := run(t.Context(), strings.Fields(c.args), io.Discard, io.Discard)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
	if err := run(t.Context(), []string{"--help"}, io.Discard, io.Discard); !errors.Is(err, flag.ErrHelp) {
		t.Errorf("--help: got %v", err)
	}
}
