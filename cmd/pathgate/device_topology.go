// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"pathgate/gateway/control"
)

// newDeviceTopologyCmd makes "pathgate device topology".
func newDeviceTopologyCmd(to *target) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "topology [NAME]",
		Short: "Show devices with their groups, paths and disks as trees",
		Long: `Show one device, or all, each with its groups of paths and the disks that lie on it,
as a tree like that of "multipathd show topology".`,
		Args:              optionalArg,
		ValidArgsFunction: completeDevices(to),
	}
	out := newFormat(cmd, false)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := to.dial()
		if err != nil {
			return err
		}
		defer c.Close()
		list, err := c.Topology(cmd.Context(), strings.Join(args, ""))
		if err != nil {
			return err
		}
		if out.isJSON() {
			return printJSON(cmd.OutOrStdout(), list, "  ")
		}
		return printTopology(cmd.OutOrStdout(), list)
	}
	return cmd
}

func printTopology(to io.Writer, list []control.Topology) error {
	w := bufio.NewWriter(to)
	for i := range list {
		t := &list[i]
		for _, line := range deviceLines(&t.Device) {
			fmt.Fprintln(w, printable(line))
		}
		branches := len(t.Groups) + len(t.Disks)
		for _, g := range t.Groups {
			branches--
			printGroup(w, &t.Device, &g, branches == 0)
		}
		for _, d := range t.Disks {
			branches--
			fmt.Fprintf(w, "%s disk %s %s all-paths-down=%s\n", branch(branches == 0), printable(d.Disk), humanBytes(d.Length), cmp.Or(d.AllPathsDown, "-"))
		}
	}
	return w.Flush()
}

// deviceLines are a device's names, and what it is and how it is used.
func deviceLines(d *control.Device) []string {
	name := d.Name
	if len(d.Aliases) > 0 {
		name = strings.Join(d.Aliases, ",") + " (" + d.Name + ")"
	}
	handler := "0"
	if len(d.Groups) > 0 {
		handler = "1 alua"
	}
	return []string{
		fmt.Sprintf("%s %s %s,%s", name, identity(*d), d.Vendor, d.Product),
		fmt.Sprintf("size=%s features='%s' hwhandler='%s' fencing=%s state=%s paths=%d/%d capacity=%s/%s", humanBytes(d.Size),
			features(d), handler, cmp.Or(d.Fencing, "-"), deviceState(*d), d.PathsUsed, d.PathsTotal,
			capacityNumber(d.CapacityNow, d.CapacityUnit), capacityNumber(d.CapacityNominal, d.CapacityUnit)),
	}
}

// features are the options of a device that is not as the defaults have it.
func features(d *control.Device) string {
	list := []string{"all-paths-down=" + map[string]string{"": d.AllPathsDown, "on": "queue", "off": "fail"}[d.Queueing], "cache=" + d.Cache}
	return fmt.Sprintf("%d %s", len(list), strings.Join(list, " "))
}

func printGroup(w io.Writer, d *control.Device, g *control.TopologyGroup, last bool) {
	name := ""
	if g.ID != "" {
		name = "group=" + g.ID + " "
	}
	fmt.Fprintf(w, "%s %spolicy='%s' prio=%d access=%s status=%s\n", branch(last), name, printable(d.Selector), g.Priority, g.Access, g.Status)
	trunk := "| "
	if last {
		trunk = "  "
	}
	for i := range g.Paths {
		p := &g.Paths[i]
		line := fmt.Sprintf("%s %s %s %s %s", p.Name, p.Portal, p.Health, p.Access, usedWord(p))
		if len(p.VMs) > 0 {
			line += " " + strings.Join(p.VMs, ",")
		}
		fmt.Fprintf(w, "%s%s %s\n", trunk, branch(i == len(g.Paths)-1), printable(line))
	}
}

func branch(last bool) string {
	if last {
		return "`-"
	}
	return "|-"
}

func usedWord(p *control.Path) string {
	if p.Used {
		return "used"
	}
	return "unused"
}
