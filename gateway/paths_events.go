// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"fmt"
	"time"

	"pathgate/backends"
	"pathgate/multipath"
)

// pathEvents puts the path manager's events on the bus.
type pathEvents Gateway

// eventRow says how an event of the path manager is shown.
type eventRow struct {
	kind     Kind
	severity Severity
	text     string // in place of an empty reason
}

func eventTable(k multipath.EventKind) eventRow {
	switch k {
	case multipath.PathUp:
		return eventRow{KindPathUp, SeverityInfo, "path is used"}
	case multipath.PathDown:
		return eventRow{KindPathDown, SeverityWarning, "path is lost"}
	case multipath.PathQuarantined:
		return eventRow{KindPathQuarantined, SeverityCritical, "path leads to another LUN"}
	case multipath.PathDisabled:
		return eventRow{KindPathDisabled, SeverityNotice, "disabled by an administrator"}
	case multipath.PathEnabled:
		return eventRow{KindPathEnabled, SeverityNotice, "enabled by an administrator"}
	case multipath.PathSlow:
		return eventRow{KindPathSlow, SeverityWarning, "a command went over its deadline"}
	case multipath.PathUnreliable:
		return eventRow{KindPathUnreliable, SeverityWarning, "too many requests fail on it"}
	case multipath.Failover:
		return eventRow{KindFailover, SeverityWarning, "requests were sent on other paths"}
	case multipath.Failback:
		return eventRow{KindFailback, SeverityNotice, "path is used again"}
	case multipath.NoPaths:
		return eventRow{KindAllPathsDown, SeverityCritical, "no path is left"}
	case multipath.Restored:
		return eventRow{KindPathsRestored, SeverityNotice, "a path is there again"}
	case multipath.GhostHeld:
		return eventRow{KindGhostHeld, SeverityWarning, "writes of unknown end are held"}
	case multipath.FenceStart:
		return eventRow{KindFenceStart, SeverityNotice, "fencing old writes"}
	case multipath.FenceDone:
		return eventRow{KindFenceDone, SeverityNotice, "old writes can no longer run"}
	case multipath.FenceFailed:
		return eventRow{KindFenceFailed, SeverityWarning, "old writes may still run"}
	case multipath.DeviceAdded:
		return eventRow{KindDeviceAdded, SeverityInfo, "found"}
	case multipath.DeviceChanged:
		return eventRow{KindDeviceChanged, SeverityNotice, "changed"}
	case multipath.DeviceGone:
		return eventRow{KindDeviceRemoved, SeverityError, "gone for good"}
	case multipath.FlushLost:
		return eventRow{KindFlushLost, SeverityCritical, "acknowledged writes may be lost"}
	case multipath.LoginFailed:
		return eventRow{KindSessionDown, SeverityWarning, "no session"}
	case multipath.DiscoveryFailed:
		return eventRow{KindSessionDown, SeverityWarning, "discovery failed"}
	case multipath.ReservationTaken:
		return eventRow{KindReservationTaken, SeverityNotice, "the LUN is reserved for this gateway"}
	case multipath.ReservationLost:
		return eventRow{KindReservationLost, SeverityCritical, "the LUN is not reserved for this gateway any more"}
	case multipath.ReservationConflicts:
		return eventRow{KindReservationConflict, SeverityCritical, "somebody else has reserved the LUN"}
	case multipath.PathRemoved:
		return eventRow{KindPathRemoved, SeverityNotice, "path is forgotten"}
	case multipath.TargetRemoved:
		return eventRow{KindTargetRemoved, SeverityNotice, "target portal is forgotten"}
	case multipath.TargetMoved:
		return eventRow{KindTargetMoved, SeverityWarning, "target has moved"}
	case multipath.SpaceLow:
		return eventRow{KindSpaceLow, SeverityWarning, "thin LUN runs out of space"}
	case multipath.GroupSwitch:
		return eventRow{KindGroupSwitch, SeverityNotice, "another port group is used"}
	case multipath.GroupSwitchFailed:
		return eventRow{KindGroupSwitchFailed, SeverityWarning, "a port group did not become active"}
	case multipath.PathMasked:
		return eventRow{KindPathMasked, SeverityNotice, "masked"}
	case multipath.PathUnmasked:
		return eventRow{KindPathUnmasked, SeverityNotice, "not masked any more"}
	case multipath.ComponentLost:
		return eventRow{KindComponentLost, SeverityError, "paths failed together"}
	case multipath.ComponentBack:
		return eventRow{KindComponentBack, SeverityNotice, "paths are back"}
	case multipath.SelectorChanged:
		return eventRow{KindSelectorChanged, SeverityNotice, "paths are selected in another way"}
	case multipath.DeviceSuspended:
		return eventRow{KindDeviceSuspended, SeverityNotice, "no requests are sent until it is resumed"}
	case multipath.DeviceResumed:
		return eventRow{KindDeviceResumed, SeverityNotice, "requests are sent again"}
	case multipath.QueueingChanged:
		return eventRow{KindQueueingChanged, SeverityNotice, "what requests do without a path is ordered"}
	case multipath.StoreFailed:
		return eventRow{KindStoreFailed, SeverityCritical, "state could not be kept"}
	}
	return eventRow{KindDeviceChanged, SeverityNotice, k.String()}
}

// Event publishes e. It is called without a lock, on any goroutine. What an orderly
// stop does to the paths is no fault: it is told as information, and that no path is
// left then is not told at all. Nor is it a fault that a rule masks all paths.
func (x *pathEvents) Event(e multipath.Event) {
	row := eventTable(e.Kind)
	if e.Loss == backends.LossClosed {
		if e.Kind == multipath.NoPaths {
			return
		}
		row.severity = SeverityInfo
	}
	if e.Masked != 0 {
		row.severity = eventTable(multipath.PathMasked).severity // an administrator asked for it
	}
	out := Event{Time: e.Time, Kind: row.kind, Severity: row.severity, Device: e.Device, Path: e.Path, Message: e.Reason}
	if out.Message == "" {
		out.Message = row.text
	}
	add := func(key string, value any) { out.Attrs = append(out.Attrs, Attr{key, fmt.Sprint(value)}) }
	if e.Loss != 0 {
		add("loss", e.Loss)
	}
	if e.Health != 0 {
		add("health", e.Health)
	}
	if e.Method != "" {
		add("method", e.Method)
	}
	if e.Duration != 0 {
		add("duration", e.Duration.Round(time.Microsecond))
	}
	switch {
	case e.Object != "":
		add("cause", e.Cause)
		add("object", e.Object)
		add("paths", e.Count)
	case e.Count != 0:
		add("requests", e.Count)
	}
	if e.Held != 0 {
		add("held", e.Held)
	}
	if e.Masked != 0 {
		add("rule", e.Masked)
	}
	x.bus.Publish(out)
	switch e.Kind {
	case multipath.DeviceAdded, multipath.DeviceGone, multipath.DeviceChanged, multipath.PathUp,
		multipath.ReservationTaken, multipath.ReservationLost, multipath.ReservationConflicts:
		(*Gateway)(x).lookAgain()
	default: // the others bring no disk nearer
	}
}
