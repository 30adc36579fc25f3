// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"

	"pathgate/gateway/control"
)

// printChanges prints the last changes of paths below what is shown of something, with
// more columns after the time.
func printChanges(w io.Writer, list []control.DeviceChange, more ...column[control.DeviceChange]) error {
	type C = control.DeviceChange
	if len(list) == 0 {
		return nil
	}
	if _, err := fmt.Fprintln(w, "\nlast changes:"); err != nil {
		return err
	}
	columns := append([]column[C]{{name: "TIME", value: func(c C) string { return c.Time.UTC().Format(eventTime) }}}, more...)
	return printTable(w, list, append(columns,
		column[C]{name: "HEALTH", value: func(c C) string { return c.Health }},
		column[C]{name: "ACCESS", value: func(c C) string { return c.Access }},
		column[C]{name: "REASON", value: func(c C) string { return c.Reason }},
	), false)
}
