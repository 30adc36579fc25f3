// SPDX-License-Identifier: Apache-2.0

package scsi

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
)

var errsRefused = []error{ErrTruncated, ErrMalformed}

func refused(err error) bool {
	return slices.ContainsFunc(errsRefused, func(e error) bool { return errors.Is(err, e) })
}

func TestTransportID(t *testing.T) {
	for _, tc := range []struct {
		name string
		id   TransportID
		wire string
	}{
		{
			"name",
			TransportID{Protocol: ProtocolISCSI, Name: "iqn.2026-11.test:i"},
			`05 00 0014                                # format 0, iSCSI, 20 bytes
			 69716e2e323032362d31312e746573743a69 0000 # name, NUL, padding`,
		},
		{
			"port",
			TransportID{Protocol: ProtocolISCSI, Name: "iqn.x:a", ISID: [6]byte{0x80, 1, 2, 3, 4, 5}, HasISID: true},
			`45 00 001c                                # format 1, 28 bytes
			 69716e2e783a61 2c692c3078 383030313032303330343035 00 000000`,
		},
		{"of SAS", TransportID{Protocol: 6}, "06" + strings.Repeat("00", 23)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			wire := fixture(t, tc.wire)
			wantBytes(t, "Append", tc.id.Append(nil), wire)
			got, n, err := DecodeTransportID(append(slices.Clone(wire), 0xff))
			if err != nil || got != tc.id || n != len(wire) {
				t.Errorf("decoded %+v, %d, %v, want %+v, %d", got, n, err, tc.id, len(wire))
			}
			wantPrefixErrors(t, wire, func(b []byte) error { _, _, err := DecodeTransportID(b); return err })
		})
	}
}

func TestTransportIDErrors(t *testing.T) {
	name20 := "69716e2e323032362d31312e746573743a69" // 18 characters
	for name, wire := range map[string]string{
		"length below 20":       "05 00 0010 69716e2e783a6100 0000000000000000",
		"length not of 4":       "05 00 0016 " + name20 + "00000000",
		"no NUL":                "05 00 0014 " + name20 + "6161",
		"bytes behind the NUL":  "05 00 0014 " + name20 + "0061",
		"no name":               "05 00 0014 " + strings.Repeat("00", 20),
		"format 2":              "85 00 0014 " + name20 + "0000",
		"port without ISID":     "45 00 0014 " + name20 + "0000",
		"ISID of 5 bytes":       "45 00 0018 69716e2e783a61 2c692c3078 38303031303230333034 0000",
		"ISID that is no hex":   "45 00 001c 69716e2e783a61 2c692c3078 7a30303130323033303430 35 00 000000",
		"name above 223 bytes":  "05 00 00e4 " + strings.Repeat("61", 224) + "00000000",
		"longer than the input": "05 00 fffc " + name20 + "0000",
	} {
		if id, _, err := DecodeTransportID(fixture(t, wire)); !refused(err) || id != (TransportID{}) {
			t.Errorf("%s: %+v, %v, want an error", name, id, err)
		}
	}
}

func fullStatus() []Registration {
	return []Registration{
		{
			Key: 0xdeadbeef, AllPorts: true, Holder: true, Type: WriteExclusiveRegistrantsOnly,
			Initiator: TransportID{Protocol: ProtocolISCSI, Name: "iqn.2026-11.test:i"},
		},
		{Key: 1, RelativePort: 2, Initiator: TransportID{Protocol: 6}},
	}
}

func TestReserveIn(t *testing.T) {
	keys := RegisteredKeys{Generation: 7, Keys: []uint64{1, 0xfedcba9876543210}}
	wire := fixture(t, "00000007 00000010 0000000000000001 fedcba9876543210 # generation, length, keys")
	wantBytes(t, "keys", keys.Append(nil), wire)
	wantPrefixErrors(t, wire, func(b []byte) error { _, err := DecodeRegisteredKeys(b); return err })
	if got, err := DecodeRegisteredKeys(wire); err != nil || !reflect.DeepEqual(got, keys) {
		t.Errorf("keys %+v, %v, want %+v", got, err, keys)
	}

	held := Reservation{Generation: 9, Held: true, Key: 0x11, Type: ExclusiveAccessAllRegistrants}
	wire = fixture(t, "00000009 00000010 0000000000000011 00000000 00 08 0000 # key, obsolete, scope and type")
	wantBytes(t, "reservation", held.Append(nil), wire)
	wantPrefixErrors(t, wire, func(b []byte) error { _, err := DecodeReservation(b); return err })
	same(t, held, wire, DecodeReservation)
	same(t, Reservation{Generation: 9}, fixture(t, "00000009 00000000"), DecodeReservation)

	caps := ReservationCapabilities{
		ReplaceLost: true, CompatibleHandling: true, SpecifyPorts: true, AllTargetPorts: true, PersistCapable: true,
		PersistActive: true, AllowCommands: 3, TypesValid: true,
		Types: ReservationTypesOf(WriteExclusive, ExclusiveAccessRegistrantsOnly, ExclusiveAccessAllRegistrants),
	}
	wire = fixture(t, "0008 9d b1 42 01 0000 # flags; TMV, ALLOW COMMANDS, PTPL_A; type mask")
	wantBytes(t, "capabilities", caps.Append(nil), wire)
	wantPrefixErrors(t, wire, func(b []byte) error { _, err := DecodeReservationCapabilities(b); return err })
	same(t, caps, wire, DecodeReservationCapabilities)
	if !caps.Types.Has(WriteExclusive) || caps.Types.Has(ExclusiveAccess) || caps.Types.Has(200) {
		t.Errorf("types %b", caps.Types)
	}
	if !held.Type.AllRegistrants() || WriteExclusive.AllRegistrants() {
		t.Error("AllRegistrants is wrong")
	}
}

func TestFullStatus(t *testing.T) {
	wire := fixture(t, `
		00000003 00000060      # generation, length
		00000000deadbeef       # key
		00000000 03 05         # ALL_TG_PT, R_HOLDER; scope and type
		00000000 0000          # reserved, relative target port
		00000018               # length of the TransportID
		05 00 0014 69716e2e323032362d31312e746573743a69 0000
		0000000000000001 00000000 00 00 00000000 0002 00000018
		06`+strings.Repeat("00", 23))
	wantBytes(t, "Append", AppendFullStatus(nil, 3, fullStatus()), wire)
	gen, got, err := DecodeFullStatus(wire)
	if err != nil || gen != 3 || !reflect.DeepEqual(got, fullStatus()) {
		t.Errorf("decoded %d, %+v, %v", gen, got, err)
	}
	wantPrefixErrors(t, wire, func(b []byte) error { _, _, err := DecodeFullStatus(b); return err })
}

func TestReserveInErrors(t *testing.T) {
	for name, wire := range map[string]string{
		"keys: half a key":         "00000001 00000004 00000000",
		"keys: claims 4 GiB":       "00000001 fffffff8 0000000000000000",
		"reservation of 8":         "00000001 00000008 0000000000000000",
		"full status cut":          "00000001 00000008 0000000000000001",
		"TransportID beyond":       "00000001 00000018 0000000000000001 00000000 00 00 00000000 0000 ffffffff",
		"no TransportID":           "00000001 00000018 0000000000000001 00000000 00 00 00000000 0000 00000000",
		"capabilities with length": "0004 0000 0000",
	} {
		b := fixture(t, wire)
		_, e1 := DecodeRegisteredKeys(b)
		_, e2 := DecodeReservation(b)
		_, _, e3 := DecodeFullStatus(b)
		_, e4 := DecodeReservationCapabilities(b)
		want := map[string]error{"k": e1, "r": e2, "f": e3, "c": e4}[string(name[0])]
		if strings.Contains(name, "TransportID") {
			want = e3
		}
		if !refused(want) {
			t.Errorf("%s: %v, want an error", name, want)
		}
	}
}

func TestReserveOut(t *testing.T) {
	basic := ReserveParameters{Key: 1, ActionKey: 2, AllPorts: true, Persist: true}
	wire := fixture(t, "0000000000000001 0000000000000002 00000000 05 000000 # key, action key, obsolete, ALL_TG_PT and APTPL")
	wantBytes(t, "basic", basic.Append(nil), wire)
	if got, err := DecodeReserveParameters(wire); err != nil || !reflect.DeepEqual(got, basic) {
		t.Errorf("basic %+v, %v, want %+v", got, err, basic)
	}
	for n := range wire {
		if _, err := DecodeReserveParameters(wire[:n]); !errors.Is(err, ErrTruncated) {
			t.Errorf("first %d bytes: %v, want ErrTruncated", n, err)
		}
	}
	if _, err := DecodeReserveParameters(append(wire, 0)); !errors.Is(err, ErrMalformed) {
		t.Errorf("25 bytes: %v, want ErrMalformed", err)
	}

	spec := ReserveParameters{ActionKey: 2, Initiators: []TransportID{
		{Protocol: ProtocolISCSI, Name: "iqn.2026-11.test:i"}, {Protocol: ProtocolISCSI, Name: "iqn.x:a", HasISID: true},
	}}
	wire = fixture(t, `0000000000000000 0000000000000002 00000000 08 000000
		00000038 # TransportIDs
		05 00 0014 69716e2e323032362d31312e746573743a69 0000
		45 00 001c 69716e2e783a61 2c692c3078 303030303030303030303030 00 000000`)
	wantBytes(t, "SPEC_I_PT", spec.Append(nil), wire)
	if got, err := DecodeReserveParameters(wire); err != nil || !reflect.DeepEqual(got, spec) {
		t.Errorf("SPEC_I_PT %+v, %v, want %+v", got, err, spec)
	}
	for n := range wire {
		if _, err := DecodeReserveParameters(wire[:n]); !refused(err) {
			t.Errorf("SPEC_I_PT, first %d bytes: %v, want an error", n, err)
		}
	}
}

func TestB26ReserveOutTooLong(t *testing.T) {
	p := ReserveParameters{Initiators: slices.Repeat([]TransportID{{Protocol: 6}}, 169)}
	b := p.Append(nil) // 24 + 4 + 169*24 = 4084
	if got, err := DecodeReserveParameters(b); err != nil || len(got.Initiators) != 169 {
		t.Errorf("%d bytes: %d initiators, %v", len(b), len(got.Initiators), err)
	}
	p.Initiators = append(p.Initiators, TransportID{Protocol: 6})
	if _, err := DecodeReserveParameters(p.Append(nil)); !errors.Is(err, ErrMalformed) {
		t.Errorf("4108 bytes: %v, want ErrMalformed", err)
	}
}

func TestMoveParameters(t *testing.T) {
	want := MoveParameters{
		Key: 1, ActionKey: 2, Unregister: true, Persist: true, RelativePort: 3,
		Initiator: TransportID{Protocol: ProtocolISCSI, Name: "iqn.2026-11.test:i"},
	}
	wire := fixture(t, `0000000000000001 0000000000000002
		00 03 0003 00000018 # UNREG, APTPL; relative target port; length
		05 00 0014 69716e2e323032362d31312e746573743a69 0000`)
	wantBytes(t, "Append", want.Append(nil), wire)
	same(t, want, wire, DecodeMoveParameters)
	for n := range wire {
		if _, err := DecodeMoveParameters(wire[:n]); !refused(err) {
			t.Errorf("first %d bytes: %v, want an error", n, err)
		}
	}
	long := append(slices.Clone(wire), 0, 0, 0, 0)
	long[23] += 4
	if _, err := DecodeMoveParameters(long); !errors.Is(err, ErrMalformed) {
		t.Errorf("4 bytes behind the TransportID: %v, want ErrMalformed", err)
	}
}

func FuzzReserveIn(f *testing.F) {
	f.Add(AppendFullStatus(nil, 3, fullStatus()))
	f.Add(RegisteredKeys{Keys: []uint64{1, 2}}.Append(nil))
	f.Add(Reservation{Held: true, Key: 1, Type: WriteExclusive}.Append(nil))
	f.Add(ReservationCapabilities{TypesValid: true, Types: 2}.Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		if v, err := DecodeReservation(b); err == nil {
			same(t, v, v.Append(nil), DecodeReservation)
		}
		if v, err := DecodeReservationCapabilities(b); err == nil {
			same(t, v, v.Append(nil), DecodeReservationCapabilities)
		}
		if v, err := DecodeRegisteredKeys(b); err == nil {
			if again, err := DecodeRegisteredKeys(v.Append(nil)); err != nil || !reflect.DeepEqual(v, again) {
				t.Errorf("%+v decodes again as %+v, %v", v, again, err)
			}
		}
		if gen, v, err := DecodeFullStatus(b); err == nil {
			if _, again, err := DecodeFullStatus(AppendFullStatus(nil, gen, v)); err != nil || !reflect.DeepEqual(v, again) {
				t.Errorf("%+v decodes again as %+v, %v", v, again, err)
			}
		}
	})
}

func FuzzReserveOut(f *testing.F) {
	f.Add(ReserveParameters{Key: 1, Initiators: []TransportID{{Protocol: ProtocolISCSI, Name: "iqn.x:a", HasISID: true}}}.Append(nil))
	f.Add(MoveParameters{Initiator: TransportID{Protocol: ProtocolISCSI, Name: "iqn.x:a"}}.Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		if v, err := DecodeReserveParameters(b); err == nil {
			if again, err := DecodeReserveParameters(v.Append(nil)); err != nil || !reflect.DeepEqual(v, again) {
				t.Errorf("%+v decodes again as %+v, %v", v, again, err)
			}
		}
		if v, err := DecodeMoveParameters(b); err == nil {
			same(t, v, v.Append(nil), DecodeMoveParameters)
		}
		if v, _, err := DecodeTransportID(b); err == nil {
			same(t, v, v.Append(nil), func(b []byte) (TransportID, error) { id, _, err := DecodeTransportID(b); return id, err })
		}
	})
}
