// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// humanBytes gives a size with a binary unit and about three digits, "0", "512B",
// "64MiB", "1.5GiB"; never more than there is.
func humanBytes(n uint64) string {
	const units = "KMGTPE"
	if n == 0 {
		return "0"
	}
	if n < 1024 {
		return strconv.FormatUint(n, 10) + "B"
	}
	unit, scale := 0, uint64(1024)
	for unit+1 < len(units) && n/scale >= 1024 {
		scale *= 1024
		unit++
	}
	whole := n / scale
	tenth := n % scale * 10 / scale // less than 2^64: n % scale < 2^60
	if whole >= 100 || tenth == 0 {
		return fmt.Sprintf("%d%ciB", whole, units[unit])
	}
	return fmt.Sprintf("%d.%d%ciB", whole, tenth, units[unit])
}

// humanAge gives how long ago t was, "5s", "3m", "2h", "4d"; "" when it is not known.
func humanAge(now, t time.Time) string {
	d := max(now.Sub(t), 0)
	switch {
	case t.IsZero():
		return ""
	case d < 2*time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < 2*time.Hour:
		return fmt.Sprintf("%dm", d/time.Minute)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", d/time.Hour)
	}
	return fmt.Sprintf("%dd", d/(24*time.Hour))
}

// humanMicros gives a latency, "850us", "1.2ms", "3.0s"; "" when it is not known.
func humanMicros(us int64) string {
	switch {
	case us <= 0:
		return ""
	case us < 1000:
		return fmt.Sprintf("%dus", us)
	case us < 1_000_000:
		return fmt.Sprintf("%.1fms", float64(us)/1e3)
	}
	return fmt.Sprintf("%.1fs", float64(us)/1e6)
}

// counts gives a map of counters in a stable order, "fence=1,no-path=3".
func counts(m map[string]int) string {
	parts := make([]string, 0, len(m))
	for k, n := range m {
		parts = append(parts, fmt.Sprintf("%s=%d", k, n))
	}
	slices.Sort(parts)
	return strings.Join(parts, ",")
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
