// SPDX-License-Identifier: Apache-2.0

package backends

import "testing"

func TestPriority(t *testing.T) {
	var none *Priority
	if got := none.Now(); got != DefaultPriority {
		t.Errorf("nil: %d", got)
	}
	p := NewPriority(9)
	o := Origin{Priority: p}
	if got := o.Priority.Now(); got != 9 {
		t.Errorf("new: %d", got)
	}
	if p.Set(0); o.Priority.Now() != 0 {
		t.Errorf("set: %d", o.Priority.Now())
	}
}
