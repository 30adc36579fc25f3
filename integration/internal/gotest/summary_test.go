// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"
)

func TestSummarize(t *testing.T) {
	const (
		pass  = `{"Action":"pass","Package":"p","Test":"TestA"}`
		skip  = `{"Action":"output","Package":"p","Test":"TestB","Output":"no tgtd\n"}` + "\n" + `{"Action":"skip","Package":"p","Test":"TestB"}`
		fail  = `{"Action":"output","Package":"p","Test":"TestC","Output":"got 1, want 2\n"}` + "\n" + `{"Action":"fail","Package":"p","Test":"TestC"}`
		end   = `{"Action":"pass","Package":"p","Elapsed":1.5}`
		empty = `{"Action":"skip","Package":"q"}` // a package without test files
		panic = `{"Action":"output","Package":"p","Output":"panic: boom\n"}` + "\n" + `{"Action":"fail","Package":"p"}`
		build = `{"Action":"build-output","ImportPath":"p","Output":"x.go:1: oops\n"}` + "\n" + `{"Action":"fail","Package":"p"}`
	)
	tests := []struct {
		name     string
		lines    []string
		wantErr  string // part of the verdict with no skip allowed; "" for none
		wantOut  []string
		wantLast string
	}{
		{"all pass", []string{pass, end}, "", []string{"ok   p 1.5s"}, "1 passed, 0 failed, 0 skipped"},
		{"skip", []string{pass, skip, end}, "1 tests skipped", []string{"no tgtd"}, "1 passed, 0 failed, 1 skipped"},
		{"fail", []string{pass, fail, `{"Action":"fail","Package":"p"}`}, "", []string{"got 1, want 2", "FAIL p"}, "1 passed, 1 failed, 0 skipped"},
		{"panic", []string{panic}, "no test ran", []string{"panic: boom"}, "0 passed, 1 failed, 0 skipped"},
		{"build", []string{build}, "no test ran", []string{"x.go:1: oops"}, "0 passed, 1 failed, 0 skipped"},
		{"none", []string{empty}, "no test ran", nil, "0 passed, 0 failed, 0 skipped"},
		{"not json", []string{"go: no such tool", pass}, "", []string{"go: no such tool"}, "1 passed, 0 failed, 0 skipped"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out strings.Builder
			sum, err := summarize(strings.NewReader(strings.Join(tt.lines, "\n")), &out)
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range tt.wantOut {
				if !strings.Contains(out.String(), want) {
					t.Errorf("output %q lacks %q", out.String(), want)
				}
			}
			verdict := ""
			if err := sum.verdict(true); err != nil {
				verdict = err.Error()
			}
			if tt.wantErr == "" && verdict != "" || !strings.Contains(verdict, tt.wantErr) {
				t.Errorf("got verdict %q, want %q", verdict, tt.wantErr)
			}
			var last strings.Builder
			sum.print(&last)
			if got := strings.TrimSpace(last.String()); got != tt.wantLast {
				t.Errorf("got %q, want %q", got, tt.wantLast)
			}
		})
	}
}
