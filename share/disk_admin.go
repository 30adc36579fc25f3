// SPDX-License-Identifier: Apache-2.0

package share

import (
	"errors"
	"fmt"
	"sync/atomic"
)

// Flow is one VM on a Disk. Make it with Disk.AddFlow.
type Flow struct {
	id       FlowID
	fast     atomic.Bool // may pass the core; set by plans
	parked   atomic.Int32
	parkedBy atomic.Uint32
	_        [40]byte

	account   account
	nextDirty *Flow // the submitter's that found no CU in account, then the owner's
	told      int   // the owner's: commands in flight, as the core was told
	_         [40]byte
}

// ID is the flow's number in explanations and in the snapshot.
func (f *Flow) ID() FlowID { return f.id }

// InFlight is how many commands were issued and have not completed.
func (f *Flow) InFlight() int { return f.account.inFlight() }

// ErrBusy: the flow has commands outstanding.
var ErrBusy = errors.New("flow has commands outstanding")

// AddFlow makes a flow. e has to be valid and its group has to exist.
func (d *Disk) AddFlow(e Entitlement) (*Flow, error) {
	if err := e.Validate(); err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.release()
	f := &Flow{id: FlowID(len(d.flows))}
	if n := len(d.free); n > 0 {
		f.id = d.free[n-1]
	}
	if err := d.try(fmt.Sprintf("group %d", e.Group), Event{Kind: AddFlow, Flow: f.id, Entitlement: &e}); err != nil {
		return nil, err
	}
	if int(f.id) == len(d.flows) {
		d.flows = append(d.flows, f)
	} else {
		d.flows[f.id] = f
		d.free = d.free[:len(d.free)-1]
	}
	f.fast.Store(d.core.Fast(f.id))
	return f, nil
}

// RemoveFlow ends f, which must not be used any more. ErrBusy while it has
// commands queued or in flight.
func (d *Disk) RemoveFlow(f *Flow) error {
	d.mu.Lock()
	defer d.release()
	f.fast.Store(false)
	for d.collect(); !d.waiting.empty(); {
		d.turn(0)
	}
	if f.account.inFlight() > 0 || d.core.flow(f.id).backlogged() {
		f.fast.Store(d.core.Fast(f.id))
		return ErrBusy
	}
	d.turn(0) // folds in what it was served past the core
	d.turn(0, Event{Kind: RemoveFlow, Flow: f.id})
	d.flows[f.id] = nil
	d.free = append(d.free, f.id)
	return nil
}

// Configure sets the LUN's settings, as of version.
func (d *Disk) Configure(s Settings, version uint32) error {
	if err := s.Validate(); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.release()
	d.word.close() // the core may know another price now
	d.set = s
	d.takeSettings()
	d.turn(0, Event{Kind: Configure, Settings: &s, Version: version})
	return nil
}

// ConfigureFlow sets what f is entitled to, as of version.
func (d *Disk) ConfigureFlow(f *Flow, e Entitlement, version uint32) error {
	if err := e.Validate(); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.release()
	f.fast.Store(false)
	err := d.try(fmt.Sprintf("group %d", e.Group), Event{Kind: ConfigureFlow, Flow: f.id, Entitlement: &e, Version: version})
	f.fast.Store(d.core.Fast(f.id))
	return err
}

// ConfigureGroup makes or sets a group, as of version. Groups are numbered from
// 1, densely.
func (d *Disk) ConfigureGroup(g GroupID, e GroupEntitlement, version uint32) error {
	if err := e.Validate(); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.release()
	return d.try(fmt.Sprintf("group %d", g), Event{Kind: ConfigureGroup, Group: g, GroupEntitlement: &e, Version: version})
}

// try has the core take an event that it may refuse.
func (d *Disk) try(what string, ev Event) error {
	faults := d.core.faults
	d.turn(0, ev)
	if d.core.faults != faults {
		return fmt.Errorf("%s does not exist", what)
	}
	return nil
}

// Settings are those in force.
func (d *Disk) Settings() Settings {
	d.mu.Lock()
	defer d.release()
	return d.set
}

// Status fills dst with the state now. It re-uses dst's slices.
func (d *Disk) Status(dst *Snapshot) {
	d.mu.Lock()
	defer d.release()
	d.turn(0)
	for _, f := range d.flows {
		if f != nil {
			d.inform(f)
		}
	}
	d.core.Snapshot(dst)
	for i := range dst.Flows {
		if f := &dst.Flows[i]; f.Queued == 0 && f.Parked > 0 {
			f.Why = d.core.Why(f.Flow)
		}
	}
}

// inform tells the core what it need not know to decide.
func (d *Disk) inform(f *Flow) *Flow {
	fl := d.core.flow(f.id)
	fl.fast, fl.parked = f.account.inFlight(), int(f.parked.Load())
	fl.parkedBy = Reason(f.parkedBy.Load())
	f.told = fl.fast
	return f
}

// Queued is how many commands of all flows wait, or are being handed to the device.
func (d *Disk) Queued() int { return int(d.word.load().queued()) }

// Why tells why the head of f waits; Seq is 0 when nothing does.
func (d *Disk) Why(f *Flow) Explain {
	d.mu.Lock()
	defer d.release()
	return d.core.Why(d.inform(f).id)
}

// Explained appends the records after number since to dst, oldest first.
func (d *Disk) Explained(dst []Explain, since uint64) []Explain {
	d.mu.Lock()
	defer d.release()
	return d.core.Explained(dst, since)
}
