// SPDX-License-Identifier: Apache-2.0

package thrash

import (
	"fmt"

	"pathgate/integration/proxy"
)

// Kind is a kind of fault.
type Kind uint8

// The kinds of fault. Lasting ones are taken back after a time.
const (
	// Reset ends the connections through a portal with RST.
	Reset Kind = iota
	// Drop ends them with FIN on both sides.
	Drop
	// HalfClose sends FIN to one side and swallows what comes from the other.
	HalfClose
	// BlackHole swallows all bytes of a portal. Lasts.
	BlackHole
	// Hold keeps all bytes of a portal and lets them go when it is mended, when
	// nobody wants them any more. Lasts.
	Hold
	// HoldWrite lets half of a write through a portal pass and holds the rest. Lasts.
	HoldWrite
	// Refuse resets the connections and refuses new ones. Lasts.
	Refuse
	// Delay slows a portal down, which costs no path. Lasts.
	Delay
	// Corrupt flips a bit of a write's data; digests find it.
	Corrupt
	// Stop is SIGSTOP and SIGCONT of a target process. Lasts.
	Stop
	// Kill is SIGKILL of a target process, which starts again. Lasts.
	Kill
	// LinkDown takes the gateway's side of a link down. Lasts.
	LinkDown
	// CarrierLost takes the target's side of a link down. Lasts.
	CarrierLost
	// Disable takes one path out of use by command. Lasts.
	Disable
	// Fail takes one path down by command, until it is reinstated by another. Lasts.
	Fail
	// KillGateway is SIGKILL of the gateway, which starts again.
	KillGateway
)

const kinds = int(KillGateway) + 1

var kindNames = [kinds]string{
	"reset", "drop", "half-close", "black-hole", "hold", "hold-write", "refuse", "delay", "corrupt",
	"stop", "kill", "link-down", "carrier-lost", "disable", "fail", "kill-gateway",
}

// String is the kind in the tables.
func (k Kind) String() string {
	if int(k) < kinds {
		return kindNames[k]
	}
	return fmt.Sprintf("kind(%d)", uint8(k))
}

// lasts tells whether the fault is there until it is taken back.
func (k Kind) lasts() bool {
	switch k {
	case BlackHole, Hold, HoldWrite, Refuse, Delay, Stop, Kill, LinkDown, CarrierLost, Disable, Fail:
		return true
	case Reset, Drop, HalfClose, Corrupt, KillGateway:
	}
	return false
}

// faults are what a proxy does for the kind, in order; none for other kinds.
func (k Kind) faults() []proxy.Fault {
	half := &proxy.Trigger{When: proxy.PDU.Write, HalfData: true}
	switch k {
	case Reset:
		return []proxy.Fault{{Kind: proxy.Reset}}
	case Drop:
		return []proxy.Fault{{Kind: proxy.Drop}}
	case HalfClose:
		return []proxy.Fault{{Kind: proxy.HalfClose}}
	case BlackHole:
		return []proxy.Fault{{Kind: proxy.BlackHole}}
	case Hold:
		return []proxy.Fault{{Kind: proxy.Hold}}
	case HoldWrite:
		return []proxy.Fault{{Kind: proxy.Hold, Dir: proxy.ToTarget, At: half}}
	case Refuse:
		return []proxy.Fault{{Kind: proxy.Refuse}, {Kind: proxy.Reset}}
	case Corrupt:
		return []proxy.Fault{{Kind: proxy.Corrupt, Dir: proxy.ToTarget, At: half}}
	case Delay, Stop, Kill, LinkDown, CarrierLost, Disable, Fail, KillGateway:
	}
	return nil
}
