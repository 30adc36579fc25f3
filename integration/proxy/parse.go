// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// ParseFault reads a fault as the command line writes it: the kind, then
// KEY=VALUE words.
//
//	hold dir=to-target opcode=data-out at=half
//	corrupt mean=1000000 part=data repair=yes
//	black-hole dir=to-client bytes=65536
//
// Keys: dir, conn, delay, jitter, rate, mean, part (data, header), repair,
// same-conn (yes, no); of the trigger: bytes, opcode (names by comma), write
// (yes: SCSI Commands that write), nth, at (a number or half), repeat.
func ParseFault(s string) (Fault, error) {
	words := strings.Fields(s)
	if len(words) == 0 {
		return Fault{}, fmt.Errorf("no kind of fault")
	}
	k, err := ParseKind(words[0])
	if err != nil {
		return Fault{}, err
	}
	f, t, triggered := Fault{Kind: k}, Trigger{}, false
	for _, w := range words[1:] {
		key, val, _ := strings.Cut(w, "=")
		isTrigger, err := t.parse(key, val)
		if !isTrigger && err == nil {
			err = f.parse(key, val)
		}
		if err != nil {
			return Fault{}, fmt.Errorf("%s %q: %w", k, w, err)
		}
		triggered = triggered || isTrigger
	}
	if triggered {
		f.At = &t
	}
	return f, nil
}

// ParseKind is the inverse of Kind.String.
func ParseKind(s string) (Kind, error) {
	for k := range kinds {
		if k.String() == s {
			return k, nil
		}
	}
	return 0, fmt.Errorf("unknown kind of fault %q; there are %s", s, strings.Join(kindNames[:], ", "))
}

func (f *Fault) parse(key, val string) (err error) {
	switch key {
	case "dir":
		for _, d := range []Direction{Both, ToTarget, ToClient} {
			if d.String() == val {
				f.Dir = d
				return nil
			}
		}
		err = fmt.Errorf("want both, to-target or to-client")
	case "conn":
		f.Conn, err = strconv.Atoi(val)
	case "delay":
		f.Delay, err = time.ParseDuration(val)
	case "jitter":
		f.Jitter, err = time.ParseDuration(val)
	case "rate":
		f.BytesPerSecond, err = strconv.ParseInt(val, 0, 64)
	case "mean":
		f.MeanBytes, err = strconv.ParseInt(val, 0, 64)
	case "part":
		switch val {
		case "data":
			f.Part = Data
		case "header":
			f.Part = Header
		default:
			err = fmt.Errorf("want data or header")
		}
	case "repair":
		f.Repair, err = yes(val)
	case "same-conn":
		f.SameConn, err = yes(val)
	default:
		err = fmt.Errorf("unknown key")
	}
	return err
}

// parse sets one field; ok tells whether key is a key of triggers.
func (t *Trigger) parse(key, val string) (ok bool, err error) {
	switch key {
	case "bytes":
		t.Bytes, err = strconv.ParseInt(val, 0, 64)
	case "opcode":
		for name := range strings.SplitSeq(val, ",") {
			o, err := ParseOpcode(name)
			if err != nil {
				return true, err
			}
			t.Opcodes = append(t.Opcodes, o)
		}
	case "write":
		on, err := yes(val)
		if on {
			t.When = PDU.Write
		}
		return true, err
	case "nth":
		t.Nth, err = strconv.Atoi(val)
	case "at":
		if val == "half" {
			t.HalfData = true
			break
		}
		t.Offset, err = strconv.Atoi(val)
	case "repeat":
		t.Repeat, err = yes(val)
	default:
		return false, nil
	}
	return true, err
}

// ParseOpcode takes a name as Opcode.String writes it, or a number.
func ParseOpcode(s string) (Opcode, error) {
	for o := range Opcode(64) {
		if o.String() == s {
			return o, nil
		}
	}
	n, err := strconv.ParseUint(s, 0, 6)
	if err != nil {
		return 0, fmt.Errorf("unknown opcode %q", s)
	}
	return Opcode(n), nil
}

func yes(s string) (bool, error) {
	switch s {
	case "yes", "true", "1":
		return true, nil
	case "no", "false", "0":
		return false, nil
	}
	return false, fmt.Errorf("want yes or no")
}
