// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"strings"
	"testing"
	"time"

	"pathgate/backends"
	"pathgate/multipath"
)

// TestEveryPathEventIsShown: each kind of the path manager has a row of its own,
// with a text for people.
func TestEveryPathEventIsShown(t *testing.T) {
	n := 0
	for k := multipath.PathUp; !strings.HasPrefix(k.String(), "event("); k++ {
		n++
		if row := eventTable(k); row.text == "" || row.text == k.String() || row.kind == 0 {
			t.Errorf("%v has no row: %+v", k, row)
		}
	}
	if n < 20 {
		t.Errorf("only %d kinds were looked at", n)
	}
}

// TestPathEvents: what an event of the path manager becomes on the bus.
func TestPathEvents(t *testing.T) {
	g := &Gateway{bus: NewBus(BusOptions{}), look: make(chan struct{}, 1)}
	x := (*pathEvents)(g)
	for _, e := range []multipath.Event{
		{Kind: multipath.PathDown, Device: "d", Path: "vmhba0:0:1", Loss: backends.LossReset, Health: multipath.Down, Reason: "reset by peer"},
		{Kind: multipath.Failover, Device: "d", Path: "vmhba0:0:1", Count: 7, Duration: 1234567 * time.Nanosecond},
		{Kind: multipath.NoPaths, Device: "d", Loss: backends.LossReset},
		{Kind: multipath.NoPaths, Device: "d", Masked: 100, Reason: "masked by rule 100; requests wait"},
		{Kind: multipath.PathDown, Device: "d", Path: "vmhba0:1:1", Loss: backends.LossClosed, Reason: "logged out"},
		{Kind: multipath.NoPaths, Device: "d", Loss: backends.LossClosed},
		{Kind: multipath.DeviceAdded, Device: "d", Reason: "naa.1"},
	} {
		x.Event(e)
	}
	var got []string
	for _, e := range g.bus.Recent(10, func(Event) bool { return true }) {
		line := e.Severity.String() + " " + e.Kind.String() + " " + e.Path + " " + e.Message
		for _, a := range e.Attrs {
			line += " " + a.Key + "=" + a.Value
		}
		got = append(got, line)
	}
	want := []string{
		"warning path-down vmhba0:0:1 reset by peer loss=connection reset health=down",
		"warning failover vmhba0:0:1 requests were sent on other paths duration=1.235ms requests=7",
		"critical all-paths-down  no path is left loss=connection reset",
		"notice all-paths-down  masked by rule 100; requests wait rule=100",
		"info path-down vmhba0:1:1 logged out loss=closed",
		"info device-added  naa.1",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if len(g.look) != 1 {
		t.Error("a new device does not have the disks look for it")
	}
}
