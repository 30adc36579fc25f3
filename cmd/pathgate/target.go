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

// dial makes a client: for --control, else for PATHGATE_CONTROL, else for the
// default of this user.
func (t *target) dial() (*control.Client, error) {
	addr := cmp.Or(t.flag, os.Getenv("PATHGATE_CONTROL"), gateway.DefaultControl().String())
	c, err := control.Dial(addr)
	if err != nil {
		return nil, usageError{err}
	}
	return c, nil
}
