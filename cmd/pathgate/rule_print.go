// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"strings"

	"pathgate/gateway/control"
)

// printChange prints what a change does; done is "added", "removed", or "" for a
// question.
func printChange(w io.Writer, out *format, c control.RuleCheck, done string) error {
	if out.isJSON() {
		return printJSON(w, c, "  ")
	}
	var b strings.Builder
	for _, e := range c.Rules {
		text := ruleText(e.Rule)
		if c.Applied {
			text += ": " + done
		}
		fmt.Fprintf(&b, "%s\n", text)
	}
	will := "would be"
	if c.Applied {
		will = "is"
	}
	for _, p := range c.Hides {
		fmt.Fprintf(&b, "  %s %s %s masked by rule %d\n", p.Name, pathText(p), will, p.Rule)
	}
	for _, p := range c.Shows {
		what := will + " used again"
		if p.Action != "use" {
			what = "tells by INQUIRY what becomes of it"
		}
		fmt.Fprintf(&b, "  %s %s %s\n", p.Name, pathText(p), what)
	}
	for _, d := range c.Devices {
		writeDevice(&b, d)
	}
	switch {
	case len(c.Hides)+len(c.Shows) == 0:
		fmt.Fprintf(&b, "  no path changes\n")
	case c.Conflict != "" && !c.Applied:
		fmt.Fprintf(&b, "  refused without --force: %s\n", printable(c.Conflict))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// printEffects prints what the rules in force do.
func printEffects(w io.Writer, out *format, c control.RuleCheck) error {
	if out.isJSON() {
		return printJSON(w, c, "  ")
	}
	var b strings.Builder
	for _, e := range c.Rules {
		fmt.Fprintf(&b, "%s: %s\n", ruleText(e.Rule), plural(len(e.Paths), "path"))
		if e.Rule.Action == "use" {
			continue
		}
		for _, p := range e.Paths {
			fmt.Fprintf(&b, "  %s %s\n", p.Name, pathText(p))
		}
		for _, d := range e.Devices {
			writeDevice(&b, d)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func ruleText(r control.Rule) string {
	return fmt.Sprintf("rule %d %s %s", r.Number, printable(r.Action), printable(r.Match))
}

// pathText is where a path leads, as far as that is known.
func pathText(p control.RulePath) string {
	text := "at " + p.Portal
	if p.Device != "" && p.Device != p.Name {
		text += ", of device " + p.Device
	}
	return "(" + printable(text) + ")"
}

func writeDevice(b *strings.Builder, d control.RuleDevice) {
	fmt.Fprintf(b, "  device %s: %d of %s left, %d usable", printable(d.Name), d.Left, plural(d.Paths, "path"), d.UsableLeft)
	if d.Loses != "" {
		fmt.Fprintf(b, ", loses its %s", printable(d.Loses))
	}
	b.WriteString("\n")
	for _, k := range d.Disks {
		fmt.Fprintf(b, "    disk %s of VM %s, %s\n", printable(k.Name), printable(k.VM), plural(k.Connections, "connection"))
	}
}
