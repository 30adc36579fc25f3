// SPDX-License-Identifier: Apache-2.0

package load

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestServe loads a file, asks twice, and stops.
func TestServe(t *testing.T) {
	file := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(file, Size); err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	// Not every file system has O_DIRECT.
	go func() { ended <- serve(ctx, ln, map[string]string{"a": file}, 0) }()
	c, err := Dial(t.Context(), ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for deadline := time.Now().Add(time.Minute); ; {
		r, err := c.Report()
		if err != nil || r["a"].Errors != 0 || time.Now().After(deadline) {
			t.Fatalf("got %+v, %v", r, err)
		}
		if r["a"].Done > 50 {
			break
		}
	}
	if r, err := c.Mark(); err != nil || r["a"].Done <= 50 || r["a"].Longest == 0 {
		t.Errorf("at the mark: got %+v, %v", r, err)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if err := Serve(t.Context(), ln, map[string]string{"a": "/nonexistent"}); err == nil {
		t.Error("a file that is not there is loaded")
	}
}
