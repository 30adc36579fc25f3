// SPDX-License-Identifier: Apache-2.0

package main

import "testing"

func TestArguments(t *testing.T) {
	for name, args := range map[string][]string{
		"none":           {},
		"no device":      {"127.0.0.1:0"},
		"no name":        {"127.0.0.1:0", "/dev/null"},
		"no address":     {"nowhere", "a=/dev/null"},
		"no such device": {"127.0.0.1:0", "a=/nonexistent"},
	} {
		if err := run(t.Context(), args); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
