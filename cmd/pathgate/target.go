// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"os"

	"pathgate/gateway"
	"pathgate/gateway/control"
)

// target is the gateway that a command talks to.
type target struct{ flag string }

// address is where it answers: --control, else PATHGATE_CONTROL, else the default of
// this user.
func (t *target) address() string {
	return cmp.Or(t.flag, os.Getenv("PATHGATE_CONTROL"), gateway.DefaultControl().String())
}

// dial makes a client for it.
func (t *target) dial() (*control.Client, error) {
	c, err := control.Dial(t.address())
	if err != nil {
		return nil, usageError{err}
	}
	return c, nil
}
