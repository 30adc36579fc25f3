// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"fmt"
	"slices"
	"time"
)

// Event is one thing that happened, as people and programs are told. Which of the
// object fields are set depends on Kind; empty ones do not apply.
type Event struct {
	// Seq counts the events of one run of the gateway, from 1; set by Publish.
	Seq uint64
	// Time is set by Publish when it is zero.
	Time     time.Time
	Kind     Kind
	Severity Severity
	// VM and Disk are configured names, Device an identity or canonical name, Path a
	// path's name, Session what names a session or connection.
	VM, Disk, Device, Path, Session string
	// Message is one line for people, without the names above where it can be.
	Message string
	// Attrs are details, few, in the order in which they are shown. Whoever
	// publishes gives the slice up.
	Attrs []Attr
}

// Attr is one detail of an event.
type Attr struct{ Key, Value string }

// With gives a copy of the event with one more detail.
func (e Event) With(key string, value any) Event {
	e.Attrs = append(e.Attrs[:len(e.Attrs):len(e.Attrs)], Attr{key, fmt.Sprint(value)})
	return e
}

// Attr gives a detail's value, or "".
func (e Event) Attr(key string) string {
	for _, a := range e.Attrs {
		if a.Key == key {
			return a.Value
		}
	}
	return ""
}

// Severity orders events by how much they ask for a person.
type Severity uint8

// Severities: as it should be; worth knowing; less than all works; a client may
// notice; data or service is at stake.
const (
	SeverityInfo Severity = iota
	SeverityNotice
	SeverityWarning
	SeverityError
	SeverityCritical
)

var severityNames = [...]string{"info", "notice", "warning", "error", "critical"}

// String gives the name as it is in JSON.
func (s Severity) String() string {
	if int(s) < len(severityNames) {
		return severityNames[s]
	}
	return fmt.Sprintf("severity(%d)", uint8(s))
}

// MarshalText is String.
func (s Severity) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText is the reverse of String.
func (s *Severity) UnmarshalText(b []byte) error {
	i := slices.Index(severityNames[:], string(b))
	if i < 0 {
		return fmt.Errorf("unknown severity %q", b)
	}
	*s = Severity(i)
	return nil
}

// Kind says what happened. The zero Kind is not valid. Its numbers are kept nowhere:
// outside this process a Kind is its String.
type Kind uint8

// Kinds of events.
const (
	KindPathUp          Kind = iota + 1 // a path can carry I/O
	KindPathDown                        // a path was lost; the message says why
	KindPathDisabled                    // by an administrator
	KindPathEnabled                     // by an administrator
	KindPathQuarantined                 // a path shows another LUN than before

	KindRuleAdded // a claim rule, at run time; the message is the rule
	KindRuleRemoved

	KindPathRemoved   // a path is forgotten: what it led to is gone, or another LUN
	KindTargetRemoved // a target portal is forgotten: nobody tells of it
	KindTargetMoved   // a target portal has sent us to another one for good

	KindSpaceLow // what a thin LUN is allocated from is nearly used up

	KindPathSlow       // a command went over its deadline on it, or it is slower than others
	KindPathUnreliable // too many requests fail on it

	KindFailover      // a device's I/O goes over other paths
	KindFailback      // it goes over the better paths again
	KindAllPathsDown  // a device has no path left
	KindPathsRestored // it has one again

	KindGhostHeld   // a write of unknown end holds a range of a device
	KindFenceStart  // fencing old writes begins
	KindFenceDone   // they can no longer run
	KindFenceFailed // they may still run; their ranges stay held

	KindDeviceAdded
	KindDeviceRemoved
	KindDeviceChanged       // size, block size or abilities
	KindFlushLost           // acknowledged writes may be lost; the next flush fails
	KindReservationTaken    // a LUN is reserved for this gateway
	KindReservationLost     // it is not any more
	KindReservationConflict // it is another's, or others may write too
	KindGroupSwitch         // I/O goes over another target port group
	KindGroupSwitchFailed   // the target was asked for another one in vain
	KindStoreFailed         // something could not be kept for the next start
	KindPathMasked          // a claim rule takes a path away, or keeps it away
	KindPathUnmasked        // none does any more
	KindComponentLost       // paths failed together; the details "cause" and "object" say what broke
	KindComponentBack       // some of it works again
	KindSelectorChanged     // paths are selected in another way, set by an administrator
	KindDeviceSuspended     // no requests are sent any more, by an administrator
	KindDeviceResumed       // they are sent again
	KindQueueingChanged     // what requests do without a path was ordered

	KindSessionUp   // logged in to a target
	KindSessionDown // logged out of it, or lost

	KindClientConnected    // to a front-end
	KindClientDisconnected // from a front-end
	KindClientRival        // two hosts have the name and ISID of one initiator; the later one is refused

	KindDiskAvailable
	KindDiskUnavailable // the message says what is missing

	KindDiskOwnedElsewhere // a client was refused: another one has the disk
	KindDiskTakenOver      // a client got the disk that another one had
	KindDiskReleased       // an administrator took it from its clients
	KindDiskResized        // it has grown, as a client or an administrator wanted
	KindDiskResizeFailed   // it could not

	KindQueuePark   // requests of a device wait; the detail "reason" says for what
	KindQueueUnpark // they go on

	KindConfigLoaded
	KindConfigRejected
	KindConfigApplied

	KindGatewayStarted
	KindGatewayStopping

	KindOperator // an administrator is about to have something done; who is in "uid"

	// KindEventsLost takes the place of events that a slow reader missed; the detail
	// "lost" is their number. Made by Subscription only.
	KindEventsLost
)

var kindNames = [...]string{
	KindPathUp:              "path-up",
	KindPathDown:            "path-down",
	KindPathDisabled:        "path-disabled",
	KindPathEnabled:         "path-enabled",
	KindPathQuarantined:     "path-quarantined",
	KindRuleAdded:           "rule-added",
	KindRuleRemoved:         "rule-removed",
	KindPathRemoved:         "path-removed",
	KindTargetRemoved:       "target-removed",
	KindTargetMoved:         "target-moved",
	KindSpaceLow:            "space-low",
	KindPathSlow:            "path-slow",
	KindPathUnreliable:      "path-unreliable",
	KindFailover:            "failover",
	KindFailback:            "failback",
	KindAllPathsDown:        "all-paths-down",
	KindPathsRestored:       "paths-restored",
	KindGhostHeld:           "ghost-held",
	KindFenceStart:          "fence-start",
	KindFenceDone:           "fence-done",
	KindFenceFailed:         "fence-failed",
	KindDeviceAdded:         "device-added",
	KindDeviceRemoved:       "device-removed",
	KindDeviceChanged:       "device-changed",
	KindFlushLost:           "flush-lost",
	KindReservationTaken:    "reservation-taken",
	KindReservationLost:     "reservation-lost",
	KindReservationConflict: "reservation-conflict",
	KindGroupSwitch:         "group-switch",
	KindGroupSwitchFailed:   "group-switch-failed",
	KindStoreFailed:         "store-failed",
	KindSessionUp:           "session-up",
	KindSessionDown:         "session-down",
	KindClientConnected:     "client-connected",
	KindClientDisconnected:  "client-disconnected",
	KindClientRival:         "client-rival",
	KindDiskAvailable:       "disk-available",
	KindDiskUnavailable:     "disk-unavailable",
	KindDiskOwnedElsewhere:  "disk-owned-elsewhere",
	KindDiskTakenOver:       "disk-taken-over",
	KindDiskReleased:        "disk-released",
	KindDiskResized:         "disk-resized",
	KindDiskResizeFailed:    "disk-resize-failed",
	KindQueuePark:           "queue-park",
	KindQueueUnpark:         "queue-unpark",
	KindConfigLoaded:        "config-loaded",
	KindConfigRejected:      "config-rejected",
	KindConfigApplied:       "config-applied",
	KindGatewayStarted:      "gateway-started",
	KindGatewayStopping:     "gateway-stopping",
	KindOperator:            "operator",
	KindEventsLost:          "events-lost",
	KindPathMasked:          "path-masked",
	KindPathUnmasked:        "path-unmasked",
	KindComponentLost:       "component-lost",
	KindComponentBack:       "component-back",
	KindSelectorChanged:     "selector-changed",
	KindDeviceSuspended:     "device-suspended",
	KindDeviceResumed:       "device-resumed",
	KindQueueingChanged:     "queueing-changed",
}

// String gives the name as it is in JSON and on the command line.
func (k Kind) String() string {
	if k > 0 && int(k) < len(kindNames) {
		return kindNames[k]
	}
	return fmt.Sprintf("kind(%d)", uint8(k))
}

// MarshalText is String.
func (k Kind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText is the reverse of String.
func (k *Kind) UnmarshalText(b []byte) error {
	i := slices.Index(kindNames[1:], string(b))
	if i < 0 {
		return fmt.Errorf("unknown kind of event %q", b)
	}
	*k = Kind(i + 1)
	return nil
}
