// SPDX-License-Identifier: Apache-2.0

package iscsi

import (
	"testing"
	"time"

	"pathgate/backends"
	wire "pathgate/internal/iscsi"
)

// A portal that does not know the target yet is asked again soon, and more and
// more seldom; one that refuses us, never before a minute.
func TestPauseAfterRefusal(t *testing.T) {
	var f backoff
	var sum time.Duration
	for n := range 6 {
		p := f.next(backends.LossDenied, isAbsent(refuse(wire.LoginNotFound)))
		if want := firstPause << n; p < want*3/4 || p > want*5/4 {
			t.Errorf("pause %d is %v, want about %v", n, p, want)
		}
		sum += p
	}
	if sum > 10*time.Second {
		t.Errorf("6 attempts took %v", sum)
	}
	for range 10 {
		f.next(backends.LossDenied, true)
	}
	if p := f.next(backends.LossDenied, true); p < deniedPause*3/4 {
		t.Errorf("in the long run the pause is %v", p)
	}
	for _, s := range []wire.LoginStatus{wire.LoginAuthenticationFailure, wire.LoginAuthorizationFailure} {
		if p := new(backoff).next(backends.LossDenied, isAbsent(refuse(s))); p < time.Minute {
			t.Errorf("%v: pause of %v", s, p)
		}
	}
	if p := f.next(backends.LossReset, false); p > maxPause*5/4 {
		t.Errorf("after a reset the pause is %v", p)
	}
}
