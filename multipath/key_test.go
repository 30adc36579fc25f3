// SPDX-License-Identifier: Apache-2.0

package multipath

import (
	"strings"
	"testing"

	"pathgate/internal/scsi"
)

// The parts of a key come back, and no part runs over into another.
func TestRegistrationKey(t *testing.T) {
	for _, c := range []struct {
		gateway        uint32
		run            uint64
		nexus          int
		login          uint64
		want           string
		epoch, pathNum uint32
	}{
		{1, 1, 0, 1, "0x7000001010000001", 1, 0},
		{MaxGatewayKey, 255, 65535, 4095, "0x70ffffffffffffff", 255, 65535},
		{0xabcde, 256 + 7, 3, 4096 + 5, "0x70abcde070003005", 7, 3},
	} {
		k := makeKey(c.gateway, c.run, c.nexus, c.login)
		if k.String() != c.want || k.Gateway() != c.gateway || k.Epoch() != c.epoch || k.Path() != c.pathNum || !k.Ours() {
			t.Errorf("got %v: gateway %x, epoch %d, path %d; want %s: %x, %d, %d",
				k, k.Gateway(), k.Epoch(), k.Path(), c.want, c.gateway, c.epoch, c.pathNum)
		}
	}
	if k := RegistrationKey(0x1234); k.Ours() || k.Gateway() != 0 {
		t.Errorf("%v passes for a gateway's", k)
	}
	if p := gatewayPart("x"); p == 0 || p > MaxGatewayKey || p == gatewayPart("y") {
		t.Errorf("gateway part %x", p)
	}
}

// H6: what a gateway does about a LUN, by what the LUN knows.
func TestH06NextPart(t *testing.T) {
	d := &Device{m: &Manager{gatewayKey: 5}}
	own, lower, higher := uint64(makeKey(5, 1, 0, 1)), uint64(makeKey(3, 1, 0, 1)), uint64(makeKey(9, 1, 0, 1))
	const host = 0xcafe
	ar := scsi.Reservation{Held: true, Type: scsi.WriteExclusiveAllRegistrants}
	free := scsi.Reservation{}
	for _, c := range []struct {
		name                 string
		res                  scsi.Reservation
		keys                 []uint64
		established, missing bool
		want                 part
		why                  string
	}{
		{"nobody", free, nil, false, false, partTake, ""},
		{"we have just registered", free, []uint64{own}, false, false, partTake, ""},
		{"ours", ar, []uint64{own}, true, false, partJoin, ""},
		{"ours, of another path of this start", ar, []uint64{own}, false, false, partJoin, ""},
		{"another gateway has it", ar, []uint64{lower}, false, false, partYield, "gateway 0x00003"},
		{"it came between", ar, []uint64{own, higher}, false, false, partYield, "gateway 0x00009"},
		{"both at once, it comes first", free, []uint64{lower, own}, false, false, partYield, "comes first"},
		{"both at once, we come first", free, []uint64{own, higher}, false, false, partTake, ""},
		{"a host registers beside us", ar, []uint64{own, host}, true, false, partJoin, ""},
		{"it takes our keys away", ar, []uint64{own, host}, true, true, partYield, "other software"},
		{"another gateway has taken them", ar, []uint64{higher}, false, true, partYield, "has taken"},
		{"the target has forgotten all", free, nil, false, true, partTake, ""},
		{"a host has another reservation", scsi.Reservation{Held: true, Type: scsi.WriteExclusive, Key: host}, []uint64{host}, false, false, partYield, "write exclusive"},
		{"tgtd has forgotten the type", scsi.Reservation{Held: true, Key: own}, []uint64{own}, true, false, partRetype, ""},
		{"the type is wrong, and others are there", scsi.Reservation{Held: true, Key: own}, []uint64{own, host}, true, false, partYield, "none"},
		{"all registrants, and nobody is", ar, nil, false, false, partYield, "nobody"},
	} {
		got, why := nextPart(d, registrations{res: c.res, keys: c.keys}, c.established, c.missing)
		if got != c.want || !strings.Contains(why, c.why) {
			t.Errorf("%s: got %d %q, want %d with %q", c.name, got, why, c.want, c.why)
		}
	}
}
