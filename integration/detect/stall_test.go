// SPDX-License-Identifier: Apache-2.0

package detect

import (
	"strings"
	"testing"
	"time"
)

func TestStalls(t *testing.T) {
	s := NewStalls(50*time.Millisecond, 50*time.Millisecond)
	defer s.Stop()
	if _, err := s.Judge(); err == nil {
		t.Error("nothing was measured, and that is well")
	}
	for i := range 200 {
		s.kept = append(s.kept, time.Duration(i%40)*time.Millisecond)
	}
	text, err := s.Judge()
	if err != nil || !strings.HasPrefix(text, "200 cuts: p50 19ms, p99 39ms, longest 39ms; 0 left out") {
		t.Errorf("got %q, %v", text, err)
	}
	for range 3 {
		s.Add(s.Now(), time.Second, false)
	}
	s.Add(s.Now(), time.Second, true)
	if s.out != 1 || !s.Disturbed() {
		t.Errorf("%d left out, want the one that others shared; disturbed: %v", s.out, s.Disturbed())
	}
	if _, err := s.Judge(); err == nil || !strings.Contains(err.Error(), "p99 1s is over 50ms") {
		t.Errorf("three of 203 over the bar: %v", err)
	}
	s.kept, s.out = s.kept[:100], 26
	if _, err := s.Judge(); err == nil {
		t.Error("26 of 126 left out, and that is well")
	}
}
