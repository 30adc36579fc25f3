// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"slices"
	"time"
)

// This file decides who may use a disk: pure, it takes the time and gives what is to
// be done. owner_disk.go is its shell; owner_nbd.go and owner_iscsi.go are what each
// front-end does with the verdicts.
//
// A disk is owned by one client over both front-ends, by as many sessions and
// connections as that client likes. A use begins with a claim, and ends when the last
// request of its session or connection on this disk has ended. While uses that were
// cut off, or whose client has gone, still have requests, nobody begins: what they
// sent could land over what comes after it (HAZARDS P10).

// ClientsMode says what becomes of a second client of a disk.
type ClientsMode string

// The modes. ClientsExclusive, the default, refuses the second one; ClientsTakeover
// cuts the first one off for it; ClientsShared has no owner: clients agree among
// themselves, by a cluster file system or persistent reservations.
const (
	ClientsExclusive ClientsMode = "exclusive"
	ClientsTakeover  ClientsMode = "takeover"
	ClientsShared    ClientsMode = "shared"
)

// releaseRest is how long a client that an administrator has thrown out does not get
// the disk back, so that another one can come before it is there again by itself.
const releaseRest = 30 * time.Second

// maxBars bounds what is remembered of clients that were cut off.
const maxBars = 64

// clientID is who uses a disk. Front-ends make it; those of two are never the same.
type clientID struct {
	key  string // equal exactly when the client is the same
	name string // for people: "process 4711 (qemu-system-x86)"
}

// use is one session's or connection's use of one disk.
type use struct {
	client clientID
	// session names the session or connection for people, as in events.
	session string
	// cut has it end soon; it is called with no lock held and does not wait. single:
	// a newer connection of the same client takes its place.
	cut    func()
	single bool
	// closed tells whether the client has closed its end; nil: it is not known.
	closed func() bool

	ending bool // it was cut off, or its client has gone; guarded by ownership.mu
	told   bool // a refusal of it was published
}

// tenancy is who has a disk. It is not safe for concurrent use.
type tenancy struct {
	mode ClientsMode
	uses []*use // that have begun, and not ended, in the order of their beginning
	bars []bar
}

// bar keeps a client away: until a time; and if held, as long as somebody uses the
// disk, so that two clients do not take it from each other without end.
type bar struct {
	key   string
	until time.Time
	held  bool
}

// verdict is the answer to a claim.
type verdict struct {
	kind ruling
	// holder is who has the disk, for refused and waits; the zero value: an
	// administrator wants the client to stay away.
	holder clientID
	// cut are the uses that are to be cut off, each told once.
	cut []*use
	// from is who lost the disk to this claim.
	from []clientID
}

// ruling is the kind of a verdict.
type ruling uint8

const (
	granted ruling = iota + 1 // the use has begun
	waits                     // older uses have to end first; claim again then
	refused                   // another client has the disk
)

// claim is u's wish to begin at now. One that has begun already is granted again,
// unless it was cut off.
func (t *tenancy) claim(now time.Time, u *use) (v verdict) {
	if slices.Contains(t.uses, u) {
		if u.ending {
			return verdict{kind: refused, holder: t.holder(u.client)}
		}
		return verdict{kind: granted}
	}
	if v = t.judge(now, u.client); v.kind == refused {
		return v
	}
	for _, x := range t.uses {
		same := x.client.key == u.client.key
		switch {
		case x.ending:
		case same && u.single:
			x.ending = true
			v.cut = append(v.cut, x)
		case !same && t.mode != ClientsShared:
			x.ending = true
			v.cut = append(v.cut, x)
			v.from = appendClient(v.from, x.client)
			t.bar(bar{x.client.key, now.Add(releaseRest), true})
		}
	}
	for i := range t.bars { // the others that lost it stay away while it changes hands
		if b := &t.bars[i]; b.held && len(v.from) > 0 {
			b.until = now.Add(releaseRest)
		}
	}
	for _, x := range t.uses {
		if x.ending && (t.mode != ClientsShared || x.client.key == u.client.key) {
			v.kind, v.holder = waits, x.client
			return v
		}
	}
	v.kind = granted
	t.uses = append(t.uses, u)
	for i := range t.bars {
		t.bars[i].until = time.Time{} // whoever it was to make room for is here
	}
	t.sweep()
	return v
}

// sweep forgets the bars that keep nobody away.
func (t *tenancy) sweep() {
	t.bars = slices.DeleteFunc(t.bars, func(b bar) bool {
		return b.until.IsZero() && !(b.held && len(t.uses) > 0)
	})
}

// judge tells whether c would be refused now; it changes nothing.
func (t *tenancy) judge(now time.Time, c clientID) verdict {
	if slices.ContainsFunc(t.bars, func(b bar) bool {
		return b.key == c.key && (now.Before(b.until) || b.held && len(t.uses) > 0)
	}) {
		return verdict{kind: refused, holder: t.holder(c)}
	}
	if h := t.holder(c); t.mode == ClientsExclusive && h.key != "" {
		return verdict{kind: refused, holder: h}
	}
	return verdict{}
}

// leave notes that u's client has gone; its requests may still run.
func (t *tenancy) leave(u *use) { u.ending = true }

// end takes u out: nothing of it runs any more. It tells whether that changes
// anything for those who wait.
func (t *tenancy) end(u *use) bool {
	i := slices.Index(t.uses, u)
	if i < 0 {
		return false
	}
	t.uses = slices.Delete(t.uses, i, i+1)
	t.sweep()
	return true
}

// release has all uses end, and keeps their clients away for a while.
func (t *tenancy) release(now time.Time) (cut []*use, from []clientID) {
	for _, x := range t.uses {
		if x.ending {
			continue
		}
		x.ending = true
		cut = append(cut, x)
		from = appendClient(from, x.client)
		t.bar(bar{x.client.key, now.Add(releaseRest), false})
	}
	return cut, from
}

// bar keeps a client away. The oldest bar is forgotten when there are many.
func (t *tenancy) bar(n bar) {
	t.bars = slices.DeleteFunc(t.bars, func(b bar) bool { return b.key == n.key })
	if len(t.bars) == maxBars {
		t.bars = slices.Delete(t.bars, 0, 1)
	}
	t.bars = append(t.bars, n)
}

// holder is the client other than c that has the disk; the zero value: there is none.
func (t *tenancy) holder(c clientID) clientID {
	for _, x := range t.uses {
		if !x.ending && x.client.key != c.key {
			return x.client
		}
	}
	return clientID{}
}

// others tells whether u's client uses the disk otherwise too.
func (t *tenancy) others(u *use) bool {
	return slices.ContainsFunc(t.uses, func(x *use) bool { return x != u && !x.ending && x.client.key == u.client.key })
}

// owner is the client that has the disk, or the last one that still has requests.
func (t *tenancy) owner() (c clientID) {
	for _, x := range t.uses {
		if c = x.client; !x.ending {
			return c
		}
	}
	return c
}

// clients are those that use the disk, in the order of their coming.
func (t *tenancy) clients() (list []clientID) {
	for _, x := range t.uses {
		if !x.ending {
			list = appendClient(list, x.client)
		}
	}
	return list
}

func appendClient(list []clientID, c clientID) []clientID {
	if slices.ContainsFunc(list, func(x clientID) bool { return x.key == c.key }) {
		return list
	}
	return append(list, c)
}
