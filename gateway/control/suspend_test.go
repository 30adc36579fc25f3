// SPDX-License-Identifier: Apache-2.0

package control_test

import (
	"errors"
	"testing"
	"time"

	"pathgate/gateway/control"
)

// TestSuspendRefusals: what is wrong is told with what would be right, and what does not
// become quiet is no conflict but a time that is over.
func TestSuspendRefusals(t *testing.T) {
	src := &operated{fake: newFake(), slow: time.Hour}
	addr, _ := serve(t, src, control.Options{})
	c := dial(t, addr)
	ctx := t.Context()
	for _, tt := range []struct {
		name string
		do   func() error
		code control.Code
		want string
	}{
		{"not quiet", func() error { _, err := c.SuspendDevice(ctx, "gold", time.Millisecond); return err }, control.CodeTimeout, "not suspended within 1ms: context deadline exceeded"},
		{"too long", func() error { _, err := c.SuspendDevice(ctx, "gold", time.Hour); return err }, control.CodeBadRequest, "wait_ms is 3600000; it has to be 1 to 600000"},
		{"too short", func() error { _, err := c.SuspendDevice(ctx, "gold", time.Nanosecond); return err }, control.CodeBadRequest, "wait_ms is 0; it has to be 1 to 600000"},
		{"no word", func() error { _, err := c.SetQueueing(ctx, "gold", ""); return err }, control.CodeBadRequest, `queueing "" is not known; there are on, off and default`},
		{"another word", func() error { _, err := c.SetQueueing(ctx, "gold", "On"); return err }, control.CodeBadRequest, `queueing "On" is not known; there are on, off and default`},
	} {
		var e *control.Error
		if err := tt.do(); !errors.As(err, &e) || e.Code != tt.code || e.Message != tt.want {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	src.refused = control.NotFound(errors.New("gone"))
	if _, err := c.ResumeDevice(ctx, "gold"); !errors.Is(err, control.ErrNotFound) {
		t.Errorf("resume of a device that has just gone: %v", err)
	}
	addr, _ = serve(t, newFake(), control.Options{})
	if _, err := dial(t, addr).ResumeDevice(ctx, "gold"); !errors.Is(err, control.ErrNotFound) {
		t.Errorf("without a path manager: %v", err)
	}
}
