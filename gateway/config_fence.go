// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"pathgate/multipath"
)

// FenceConfig is how old writes of lost paths to a LUN may be fenced.
type FenceConfig struct {
	// Shared: hosts beside this gateway use the LUN. It is noticed by itself where
	// they have registrations or reservations there. Default false.
	Shared bool
	// Reset is whether LOGICAL UNIT RESET may be used, which ends the tasks of all
	// who use the LUN. Default auto: unless it is shared.
	Reset FenceReset
	// Abort: the target answers PREEMPT AND ABORT when the commands that it ends run
	// no more, so no reset is needed where there is a reservation. Default false;
	// true where it is not so corrupts data. LIO does not wait.
	Abort bool
}

// FenceReset is when LOGICAL UNIT RESET is used.
type FenceReset string

// When.
const (
	FenceResetAuto   FenceReset = "auto"
	FenceResetAlways FenceReset = "always"
	FenceResetNever  FenceReset = "never"
)

// ReservationConfig is how a LUN is kept from other gateways.
type ReservationConfig struct {
	// Mode is what is reserved. Default none.
	Mode ReservationMode
	// Key is this gateway's part of its registration keys, 1 to 0xfffff, and differs
	// between gateways. 0, the default: one that is made once and kept in the state.
	Key uint32
}

// ReservationMode is a kind of reservation.
type ReservationMode string

// ReservationNone: reservations of others are respected, and none is made.
// ReservationAllRegistrants: WRITE EXCLUSIVE - ALL REGISTRANTS, with a key for each
// path. Who has no key may read only; where others hold it, this gateway may.
const (
	ReservationNone           ReservationMode = "none"
	ReservationAllRegistrants ReservationMode = "exclusive-all-registrants"
)

func (d *decoder) fence(o object, f *FenceConfig) {
	o.bool("shared", &f.Shared)
	enum(o, "fence-reset", &f.Reset, FenceResetAuto, FenceResetAlways, FenceResetNever)
	o.bool("fence-abort", &f.Abort)
}

func (d *decoder) reservation(v value, key string, r *ReservationConfig) {
	o := d.object(v, key, "mode", "key")
	o.require("mode")
	enum(o, "mode", &r.Mode, ReservationNone, ReservationAllRegistrants)
	parsed(o, "key", &r.Key, parseGatewayKey, gatewayKeyRule)
	if r.Key != 0 && r.Mode == ReservationNone {
		d.fault(joinKey(key, "key"), "is not used here", "belongs to mode exclusive-all-registrants")
	}
}

var errGatewayKey = errors.New("is not the key of a gateway")

var gatewayKeyRule = fmt.Sprintf("hexadecimal, from 0x1 to %#x", multipath.MaxGatewayKey)

// parseGatewayKey reads the gateway's part of a key: 0x and hexadecimal digits.
func parseGatewayKey(s string) (uint32, error) {
	digits, ok := strings.CutPrefix(s, "0x")
	n, err := strconv.ParseUint(digits, 16, 32)
	if !ok || err != nil || n == 0 || n > multipath.MaxGatewayKey {
		return 0, errGatewayKey
	}
	return uint32(n), nil
}

// rule puts the switches into a rule of the path manager.
func (f FenceConfig) rule(r *multipath.Rule) {
	r.Shared, r.FenceAbort = f.Shared, f.Abort
	switch f.Reset {
	case FenceResetAuto:
		r.FenceReset = multipath.FenceAuto
	case FenceResetAlways:
		r.FenceReset = multipath.FenceAlways
	case FenceResetNever:
		r.FenceReset = multipath.FenceNever
	}
}

func (c ReservationConfig) rule(r *multipath.Rule) {
	r.Reservation = multipath.Reservation{AllRegistrants: c.Mode == ReservationAllRegistrants, Key: c.Key}
}
