// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"slices"

	"go.etcd.io/bbolt"
)

// maxLUNNumber is the largest that the flat addressing of SAM can express.
const maxLUNNumber = 16383

// LUNWish is a disk that a VM's initiators are to see, and the number that it is to
// have; nil: any.
type LUNWish struct {
	Disk   string
	Number *uint16
}

// LUNTakenError tells that a number which is wanted for one disk is another's.
type LUNTakenError struct {
	VM, Disk, Holder string
	Number           uint16
}

func (e *LUNTakenError) Error() string {
	return fmt.Sprintf("LUN %d of VM %s is disk %s since that was first seen: %s cannot have it", e.Number, e.VM, e.Holder, e.Disk)
}

// LUNNumbers gives the numbers under which a VM sees its disks, in the order of
// disks. A number is made the first time, from 0 up, kept, and not given to
// another disk later, so that a removed disk leaves a hole. One that is wished
// for takes the place of the one that was kept; it may be that of a removed disk,
// but not that of another in disks that has no wish: a *LUNTakenError, and nothing
// has changed. No two wishes are for one number.
func (s *Store) LUNNumbers(vm string, disks []LUNWish) (numbers []uint16, err error) {
	keys := make([]string, len(disks))
	for i, d := range disks {
		if keys[i], err = recordKey(vm, d.Disk); err != nil {
			return nil, err
		}
	}
	p := &lunPlan{}
	if err := s.view(func(tx *bbolt.Tx) error { return p.read(tx, vm) }); err != nil {
		return nil, err
	}
	numbers, changed, err := p.assign(vm, disks)
	if err != nil || !changed {
		return numbers, err
	}
	return numbers, s.update(func(c *change) error { // nobody else writes these records
		for _, lost := range p.lost {
			if err := c.drop(bucketLUNs, vm+"\x00"+lost); err != nil {
				return err
			}
		}
		for i, key := range keys {
			if err := put(c, bucketLUNs, key, numbers[i]); err != nil {
				return err
			}
		}
		return put(c, bucketLUNNext, vm, p.next)
	})
}

// lunPlan are the numbers of a VM's disks, removed ones too.
type lunPlan struct {
	byDisk map[string]uint16
	next   uint16   // none from here on was given by itself
	lost   []string // removed disks whose number another was given by wish
}

func (p *lunPlan) read(tx *bbolt.Tx, vm string) (err error) {
	p.byDisk = map[string]uint16{}
	if p.next, _, err = get[uint16](tx, bucketLUNNext, vm); err != nil {
		return err
	}
	prefix := []byte(vm + "\x00")
	c := tx.Bucket([]byte(bucketLUNs)).Cursor()
	for k, rec := c.Seek(prefix); bytes.HasPrefix(k, prefix); k, rec = c.Next() {
		n, err := decodeRecord[uint16](bucketLUNs, string(k), rec)
		if err != nil {
			return err
		}
		p.byDisk[string(k[len(prefix):])] = n
	}
	return nil
}

// assign gives each disk its number, and tells whether any is new.
func (p *lunPlan) assign(vm string, disks []LUNWish) (numbers []uint16, changed bool, err error) {
	for _, d := range disks {
		if d.Number == nil {
			continue
		}
		for holder, n := range p.byDisk {
			if n != *d.Number || holder == d.Disk {
				continue
			}
			i := slices.IndexFunc(disks, func(o LUNWish) bool { return o.Disk == holder })
			switch {
			case i >= 0 && disks[i].Number == nil:
				return nil, false, &LUNTakenError{VM: vm, Disk: d.Disk, Holder: holder, Number: n}
			case i < 0:
				p.lost = append(p.lost, holder)
			}
		}
	}
	for _, lost := range p.lost {
		delete(p.byDisk, lost)
	}
	for _, d := range disks {
		if n, ok := p.byDisk[d.Disk]; d.Number != nil && (!ok || n != *d.Number) {
			p.byDisk[d.Disk], changed = *d.Number, true
		}
	}
	taken := map[uint16]bool{}
	for _, n := range p.byDisk {
		taken[n] = true
	}
	for _, d := range disks {
		n, ok := p.byDisk[d.Disk]
		if !ok {
			for taken[p.next] {
				p.next++
			}
			if p.next > maxLUNNumber {
				return nil, false, fmt.Errorf("vm %s: all %d LUN numbers are in use", vm, maxLUNNumber+1)
			}
			n = p.next
			p.next++
			p.byDisk[d.Disk], changed = n, true
		}
		numbers = append(numbers, n)
	}
	return numbers, changed, nil
}

// DiskUUID gives the UUID of a VM's disk, made the first time (RFC 9562, version 4).
// What initiators know the disk by comes from it.
func (s *Store) DiskUUID(vm, disk string) ([16]byte, error) {
	key, err := recordKey(vm, disk)
	if err != nil {
		return [16]byte{}, err
	}
	return findOrMake(s, bucketUUIDs, key, func(*change) (u [16]byte, err error) {
		_, err = rand.Read(u[:])
		u[6], u[8] = u[6]&0x0f|0x40, u[8]&0x3f|0x80
		return u, err
	})
}

// Reservations gives the persistent reservations of a VM's disk that its
// initiators want kept (APTPL), as the device server wrote them; nil: none.
func (s *Store) Reservations(vm, disk string) ([]byte, error) {
	key, err := recordKey(vm, disk)
	if err != nil {
		return nil, err
	}
	b, _, err := find[[]byte](s, bucketReservations, key)
	return b, err
}

// PutReservations keeps them; nil: nothing is to be kept.
func (s *Store) PutReservations(vm, disk string, data []byte) error {
	key, err := recordKey(vm, disk)
	if err != nil {
		return err
	}
	if data == nil {
		return s.remove(bucketReservations, key)
	}
	return s.update(func(c *change) error { return put(c, bucketReservations, key, data) })
}
