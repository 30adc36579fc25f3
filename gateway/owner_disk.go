// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"pathgate/gateway/control"
)

// ownership is the tenancy of one disk. All methods are safe for concurrent use.
type ownership struct {
	disk *servedDisk
	bus  *Bus

	mu      sync.Mutex
	tenancy tenancy
	changed chan struct{} // closed and replaced when a use has ended
}

func newOwnership(d *servedDisk, bus *Bus) *ownership {
	o := &ownership{disk: d, bus: bus, changed: make(chan struct{})}
	if o.tenancy.mode = d.cfg.Clients; d.cfg.ReadOnly {
		o.tenancy.mode = ClientsShared // nothing that one does concerns the others
	}
	return o
}

// claim is tenancy.claim now. The caller cuts the uses off that the verdict names,
// when it holds no lock. changed is closed when a claim that waits is worth another
// try.
func (o *ownership) claim(u *use) (v verdict, changed <-chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	v = o.tenancy.claim(time.Now(), u)
	first := v.kind == refused && !u.told
	u.told = u.told || first
	if first {
		o.bus.Publish(o.event(KindDiskOwnedElsewhere, u, o.refusal(v)))
	}
	for _, c := range v.from {
		o.bus.Publish(o.event(KindDiskTakenOver, u, u.client.name+" takes the disk over from "+c.name))
	}
	return v, o.changed
}

// refusal tells why v refuses.
func (o *ownership) refusal(v verdict) string {
	if v.holder.key == "" {
		return "kept from this client for a while: it was taken from it"
	}
	return "in use by " + v.holder.name
}

func (o *ownership) event(k Kind, u *use, message string) Event {
	d := o.disk
	return Event{
		Kind: k, Severity: SeverityWarning, VM: d.VM(), Disk: d.FullName(), Session: u.session, Message: message,
		Attrs: []Attr{{"client", u.client.name}, {"owner", o.tenancy.owner().name}},
	}
}

// leave notes that u's client has gone.
func (o *ownership) leave(u *use) {
	o.mu.Lock()
	o.tenancy.leave(u)
	o.mu.Unlock()
}

// others tells whether u's client uses the disk otherwise too.
func (o *ownership) others(u *use) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.tenancy.others(u)
}

// end notes that nothing of u runs any more.
func (o *ownership) end(u *use) {
	o.mu.Lock()
	if o.tenancy.end(u) {
		close(o.changed)
		o.changed = make(chan struct{})
	}
	o.mu.Unlock()
}

// open tells whether c would be let in.
func (o *ownership) open(c clientID) (v verdict, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	v = o.tenancy.judge(time.Now(), c)
	return v, v.kind != refused
}

// closing gives the uses of u's client that it has closed, whether that was read or not.
func (o *ownership) closing(u *use) (list []*use) {
	o.mu.Lock()
	var same []*use
	for _, x := range o.tenancy.uses {
		if x.client.key == u.client.key && x.closed != nil && !x.ending {
			same = append(same, x)
		}
	}
	o.mu.Unlock()
	for _, x := range same {
		if x.closed() {
			list = append(list, x)
		}
	}
	return list
}

// ending gives the uses that keep a claim waiting.
func (o *ownership) ending() (list []*use) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, x := range o.tenancy.uses {
		if x.ending {
			list = append(list, x)
		}
	}
	return list
}

// enter claims the disk for u, and waits for older uses that have to end before, for as
// long as ctx and limit allow. Those whose client has gone get grace to end by
// themselves.
func (o *ownership) enter(ctx context.Context, u *use, grace, limit time.Duration) error {
	for _, x := range o.closing(u) {
		o.leave(x)
	}
	end, patience := time.NewTimer(limit), time.NewTimer(grace)
	defer end.Stop()
	defer patience.Stop()
	for {
		v, changed := o.claim(u)
		for _, x := range v.cut {
			x.cut()
		}
		switch v.kind {
		case granted:
			return nil
		case refused:
			return fmt.Errorf("%s is %s", o.disk.FullName(), o.refusal(v))
		case waits:
		}
		select {
		case <-changed:
		case <-patience.C:
			for _, x := range o.ending() {
				x.cut()
			}
		case <-end.C:
			return fmt.Errorf("%s: requests of %s do not end", o.disk.FullName(), v.holder.name)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// release has all clients of the disk leave it.
func (o *ownership) release() (from []string) {
	o.mu.Lock()
	cut, clients := o.tenancy.release(time.Now())
	o.mu.Unlock()
	for _, c := range clients {
		from = append(from, c.name)
	}
	for _, x := range cut {
		x.cut()
	}
	if len(from) > 0 {
		d := o.disk
		o.bus.Publish(Event{
			Kind: KindDiskReleased, Severity: SeverityNotice, VM: d.VM(), Disk: d.FullName(),
			Message: "taken from " + strings.Join(from, ", ") + " by an administrator",
		})
	}
	return from
}

// owner names who uses the disk, for people; "" when nobody does.
func (o *ownership) owner() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	var names []string
	for _, c := range o.tenancy.clients() {
		names = append(names, c.name)
	}
	return strings.Join(names, ", ")
}

// ReleaseDisk has the clients of a disk leave it. It gives their names.
func (s *adminView) ReleaseDisk(name string) ([]string, error) {
	d := s.byName[name]
	if d == nil {
		return nil, fmt.Errorf("disk %s: %w", name, control.ErrNotFound)
	}
	return d.own.release(), nil
}

var _ control.OwnerSource = adminSource{}
