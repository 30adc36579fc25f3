// SPDX-License-Identifier: Apache-2.0

package multipath

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"sort"
	"strconv"
)

// RegistrationKey is the reservation key that a path registers at its LUN in one
// login. From the highest bit: 8 bits that mark keys of pathgate, 20 of the
// gateway, 8 of the run (its epoch), 16 of the nexus (adapter and target number),
// 12 of the login. No two logins of a gateway's paths to a LUN have one key, but
// for those that are 256 runs or 4096 logins apart. Numbers of nexuses are never given
// to another, and an array with a target for each LUN uses up many.
type RegistrationKey uint64

const (
	keyMark     = 0x70
	gatewayBits = 20
	epochBits   = 8
	nexusBits   = 16
	loginBits   = 12

	// MaxGatewayKey is the largest gateway part of a key; the smallest is 1.
	MaxGatewayKey = 1<<gatewayBits - 1
)

// makeKey puts a key together; what does not fit wraps round.
func makeKey(gateway uint32, run uint64, nexus int, login uint64) RegistrationKey {
	k := uint64(keyMark)
	k = k<<gatewayBits | uint64(gateway)&(1<<gatewayBits-1)
	k = k<<epochBits | run&(1<<epochBits-1)
	k = k<<nexusBits | uint64(nexus)&(1<<nexusBits-1)
	k = k<<loginBits | login&(1<<loginBits-1)
	return RegistrationKey(k)
}

// Ours tells whether a gateway like this one made the key; other software may make
// one that looks the same.
func (k RegistrationKey) Ours() bool { return k>>56 == keyMark }

// Gateway is the part of the gateway, 0 for a key of other software.
func (k RegistrationKey) Gateway() uint32 {
	if !k.Ours() {
		return 0
	}
	return uint32(k>>(epochBits+nexusBits+loginBits)) & MaxGatewayKey
}

// Epoch is the run of the gateway, as far as the key has it.
func (k RegistrationKey) Epoch() uint32 {
	return uint32(k>>(nexusBits+loginBits)) & (1<<epochBits - 1)
}

// Path is the number of the nexus.
func (k RegistrationKey) Path() uint32 { return uint32(k>>loginBits) & (1<<nexusBits - 1) }

// String is the key in hex, as the commands take it.
func (k RegistrationKey) String() string { return fmt.Sprintf("0x%016x", uint64(k)) }

// gatewayPart makes the gateway's part of the keys of its salt; never 0.
func gatewayPart(salt string) uint32 {
	h := sha256.Sum256([]byte("gateway " + salt))
	return max(binary.BigEndian.Uint32(h[:])&MaxGatewayKey, 1)
}

// errManyNexuses: keys have no room for more.
var errManyNexuses = errors.New("more than 65536 pairs of adapter and target have been used with this state")

// nexusNumber gives the number of an adapter at a target number for the keys. It is
// kept in the store, and never given to another. Caller holds adopting.
func (m *Manager) nexusNumber(adapter string, target int) (int, error) {
	name := adapter + ":" + strconv.Itoa(target)
	if n, ok := m.nexuses[name]; ok {
		return n, nil
	}
	forward := "registration number of " + name
	have, ok, err := m.cfg.Store.Binding(forward)
	if err != nil {
		return 0, err
	}
	if ok {
		n, err := strconv.Atoi(have)
		m.nexuses[name] = n
		return n, err
	}
	n, err := m.firstFree()
	if err != nil {
		return 0, err
	}
	// A crash between these leaves a number that nobody has.
	if err := m.cfg.Store.BindName(nexusOwner(n), name); err != nil {
		return 0, err
	}
	if err := m.cfg.Store.BindName(forward, strconv.Itoa(n)); err != nil {
		return 0, err
	}
	m.nexuses[name] = n
	return n, nil
}

// nexusOwner is the binding that tells whose a number is.
func nexusOwner(n int) string { return fmt.Sprintf("registration number %d", n) }

// firstFree gives the lowest number that was never given away: they are given in order.
func (m *Manager) firstFree() (int, error) {
	var fault error
	n := sort.Search(1<<nexusBits, func(n int) bool {
		_, ok, err := m.cfg.Store.Binding(nexusOwner(n))
		fault = cmp.Or(fault, err)
		return !ok
	})
	if fault == nil && n == 1<<nexusBits {
		fault = errManyNexuses
	}
	return n, fault
}

// registration is the key of the path of that name in a login of a run, 0 where
// the name is not that of a path. Caller holds adopting.
func (m *Manager) registration(d *Device, path string, run, gen uint64) (uint64, error) {
	adapter, target, _, ok := parsePath(path)
	if !ok {
		return 0, nil
	}
	n, err := m.nexusNumber(adapter, target)
	if err != nil {
		return 0, fmt.Errorf("registration key of %s: %w", path, err)
	}
	return uint64(makeKey(d.gatewayKey(), run, n, gen)), nil
}

// gatewayKey is the gateway's part of the keys on d.
func (d *Device) gatewayKey() uint32 {
	if k := d.rule.Reservation.Key; k != 0 {
		return k
	}
	return d.m.gatewayKey
}

// keyIn is p's key in a login of this run.
func (p *Path) keyIn(gen uint64) uint64 {
	return uint64(makeKey(p.dev.gatewayKey(), p.dev.m.cfg.Run, p.port.nexusNumber, gen))
}

// ours tells whether this gateway registered the key on d.
func (d *Device) ours(key uint64) bool {
	return RegistrationKey(key).Gateway() == d.gatewayKey()
}
