// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"time"

	"pathgate/backends"
)

// QueueEvent hears what the device does with requests that it was given.
func (rt *Router) QueueEvent(b *backends.Batch, ev backends.QueueEvent) {
	p, ok := ev.Request.Completer.(*Part)
	if !ok {
		return
	}
	switch ev.Kind {
	case backends.Park:
		p.unpark()
		p.parked = ev.Reason
		p.Flow.parked[ev.Reason].Add(1)
		rt.explainPark(p, ev)
	case backends.Unpark:
		p.unpark()
	case backends.PathDown:
		p.redrive(true)
	case backends.Redrive:
		p.redrive(false)
	}
	rt.sched.event(b, p, ev)
}

// explainPark records why p waits.
func (rt *Router) explainPark(p *Part, ev backends.QueueEvent) {
	if rt.explain == nil {
		return
	}
	e := Explanation{
		Time: time.Now(), VM: p.Flow.VM, Device: rt.device.Name, Reason: parkReason(ev.Reason),
		Offset: p.Offset, Length: p.Length,
	}
	if p.Origin != nil {
		e.Disk = p.Origin.Disk
	}
	rt.explain.Explain(e)
}

// parkReason gives the explanation for what a device holds a request for.
func parkReason(r backends.ParkReason) Reason {
	switch r {
	case backends.ParkNoPath:
		return WhyNoPath
	case backends.ParkFence:
		return WhyFence
	case backends.ParkOrder:
		return WhyOrder
	case backends.ParkBusy:
		return WhyBusy
	case backends.ParkFull:
		return WhyFull
	case backends.ParkTransition:
		return WhyTransition
	case backends.ParkReset:
		return WhyReset
	case backends.ParkSuspended:
		return WhySuspended
	}
	return 0
}

// unpark takes p out of the count of held requests.
func (p *Part) unpark() {
	if p.parked != 0 {
		p.Flow.parked[p.parked].Add(-1)
		p.parked = 0
	}
}

// redrive counts p among those that wait to be sent again, or no longer.
func (p *Part) redrive(waits bool) {
	if p.redriving == waits {
		return
	}
	p.redriving = waits
	if waits {
		p.Flow.redriving.Add(1)
	} else {
		p.Flow.redriving.Add(-1)
	}
}

// CapacityChanged hears how much of the device's bandwidth is usable.
func (rt *Router) CapacityChanged(b *backends.Batch, now, nominal float64) {
	rt.capNow.Store(now)
	rt.capNominal.Store(nominal)
	rt.sched.capacity(b, now, nominal)
}

// Refusing hears which requests the device ends at once.
func (rt *Router) Refusing(b *backends.Batch, upTo backends.PathWait) { rt.sched.refusing(b, upTo) }
