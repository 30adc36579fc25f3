// SPDX-License-Identifier: Apache-2.0

package nbd

import (
	"encoding/binary"
	"errors"
	"maps"
	"strings"
	"testing"

	nc "pathgate/integration/nbdclient"
)

// refusedOption demands that an option is answered with the error want.
func refusedOption(t *testing.T, r *peer, o uint32, data []byte, want uint32) {
	t.Helper()
	_, err := r.Ask(o, data)
	var oe *nc.OptionError
	if !errors.As(err, &oe) || oe.Type != want {
		t.Errorf("option %d: got %v, want reply type %#x", o, err, want)
	}
}

func accepted(t *testing.T, r *peer, o uint32) {
	t.Helper()
	if reps, err := r.Ask(o, nil); err != nil || len(reps) != 0 {
		t.Errorf("option %d: got %v, %v, want ACK", o, reps, err)
	}
}

func TestImprovedReplies(t *testing.T) {
	b, _ := standard(t)
	r := b.greeted(t)
	refusedOption(t, r, nc.OptStructuredReply, []byte{1}, nc.RepErrInvalid)
	refusedOption(t, r, nc.OptExtendedHeaders, []byte{1}, nc.RepErrInvalid)
	accepted(t, r, nc.OptStructuredReply)
	refusedOption(t, r, nc.OptStructuredReply, nil, nc.RepErrInvalid)
	accepted(t, r, nc.OptExtendedHeaders)
	refusedOption(t, r, nc.OptExtendedHeaders, nil, nc.RepErrInvalid)
	refusedOption(t, r, nc.OptStructuredReply, nil, nc.RepErrExtHeadersReqd)
	// EXPORT_NAME is not for a client of extended headers.
	r.SendOption(nc.OptExportName, []byte("x"))
	closed(t, r)
}

func TestB43MetaContexts(t *testing.T) {
	b, _ := standard(t)
	r := b.greeted(t)
	for _, o := range []uint32{nc.OptListMetaContext, nc.OptSetMetaContext} {
		refusedOption(t, r, o, nc.MetaData("x"), nc.RepErrInvalid) // structured replies come first
	}
	accepted(t, r, nc.OptStructuredReply)
	both := map[string]uint32{"base:allocation": uint32(metaAllocation), "pathgate:paths": uint32(metaPaths)}
	allocation := map[string]uint32{"base:allocation": uint32(metaAllocation)}
	tests := []struct {
		name    string
		option  uint32
		queries []string
		want    map[string]uint32
	}{
		{"list all", nc.OptListMetaContext, nil, both},
		{"list a namespace", nc.OptListMetaContext, []string{"base:"}, allocation},
		{"list by name, twice", nc.OptListMetaContext, []string{"base:allocation", "base:allocation"}, allocation},
		{"list what is unknown", nc.OptListMetaContext, []string{"base:x", "qemu:dirty-bitmap:b"}, nil},
		{"set nothing", nc.OptSetMetaContext, nil, nil},
		{"set a namespace", nc.OptSetMetaContext, []string{"base:", "pathgate:"}, nil},
		{"set one", nc.OptSetMetaContext, []string{"base:allocation"}, allocation},
		{"set both and unknown ones", nc.OptSetMetaContext, []string{"pathgate:paths", "x-a:b", "base:allocation"}, both},
	}
	for _, tt := range tests {
		got, err := r.Meta(tt.option, "x", tt.queries...)
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		want := maps.Clone(tt.want)
		if tt.option == nc.OptListMetaContext {
			for k := range want {
				want[k] = 0 // reserved
			}
		}
		if !maps.Equal(got, want) {
			t.Errorf("%s: got %v, want %v", tt.name, got, want)
		}
	}
}

// metaData is the payload of a meta context option with lengths of one's choice.
func metaData(nameLen uint32, name string, count uint32, rest ...byte) []byte {
	b := append(binary.BigEndian.AppendUint32(nil, nameLen), name...)
	return append(binary.BigEndian.AppendUint32(b, count), rest...)
}

func TestB42MetaContexts(t *testing.T) {
	b, _ := standard(t)
	long := strings.Repeat("a", 4097)
	for name, data := range map[string][]byte{
		"no data":                    nil,
		"no count":                   {0, 0, 0, 1, 'x'},
		"name beyond the option":     metaData(9, "x", 0),
		"name of 2^32-1":             metaData(1<<32-1, "x", 0),
		"name too long":              metaData(4097, long, 0),
		"NUL in the name":            metaData(2, "x\x00", 0),
		"count without queries":      metaData(1, "x", 1),
		"count of 2^32-1":            metaData(1, "x", 1<<32-1, 0, 0, 0, 3, 'a', ':', 'b'),
		"query beyond the option":    metaData(1, "x", 1, 0, 0, 0, 4, 'a', ':', 'b'),
		"query of 2^32-1":            metaData(1, "x", 1, 255, 255, 255, 255, 'a', ':', 'b'),
		"bytes behind the queries":   metaData(1, "x", 1, 0, 0, 0, 3, 'a', ':', 'b', 0),
		"query without a namespace":  nc.MetaData("x", "allocation"),
		"query with an empty one":    nc.MetaData("x", ":allocation"),
		"query that is no string":    nc.MetaData("x", "a:\xff"),
		"query longer than a string": nc.MetaData("x", "a:"+long),
	} {
		t.Run(name, func(t *testing.T) {
			r := b.greeted(t)
			accepted(t, r, nc.OptStructuredReply)
			refusedOption(t, r, nc.OptSetMetaContext, data, nc.RepErrInvalid)
			refusedOption(t, r, nc.OptListMetaContext, data, nc.RepErrInvalid)
			if _, err := r.List(); err != nil { // the stream is in step
				t.Errorf("list afterwards: %v", err)
			}
		})
	}
	r := b.greeted(t)
	accepted(t, r, nc.OptStructuredReply)
	many := make([]string, 1500)
	for i := range many {
		many[i] = "base:x"
	}
	if got, err := r.Meta(nc.OptSetMetaContext, "x", many...); err != nil || len(got) != 0 {
		t.Errorf("1500 queries: got %v, %v", got, err)
	}
	refusedOption(t, r, nc.OptSetMetaContext, nc.MetaData("x", append(many, many...)...), nc.RepErrTooBig)
}

// A selection holds for the export that it named, and until the next one, also when
// that fails.
func TestB52SelectionIsForOneExport(t *testing.T) {
	b, _ := standard(t)
	tests := []struct {
		name string
		do   func(r *peer)
		want nc.Errno
	}{
		{"selected", func(r *peer) { _, _ = r.Meta(nc.OptSetMetaContext, "x", "base:allocation") }, 0},
		{"selected of another", func(r *peer) { _, _ = r.Meta(nc.OptSetMetaContext, "vm2/root", "base:allocation") }, nc.EINVAL},
		{"selected and replaced", func(r *peer) {
			_, _ = r.Meta(nc.OptSetMetaContext, "x", "base:allocation")
			_, _ = r.Meta(nc.OptSetMetaContext, "x", "base:")
		}, nc.EINVAL},
		{"selected and failed", func(r *peer) {
			_, _ = r.Meta(nc.OptSetMetaContext, "x", "base:allocation")
			_, _ = r.Meta(nc.OptSetMetaContext, "x", "nonsense")
		}, nc.EINVAL},
		{"listed only", func(r *peer) { _, _ = r.Meta(nc.OptListMetaContext, "x", "base:allocation") }, nc.EINVAL},
	}
	for _, d := range []nc.Dialect{nc.Structured, nc.Extended} {
		for _, tt := range tests {
			r := b.greeted(t)
			if err := r.Speak(d); err != nil {
				t.Fatal(err)
			}
			tt.do(r)
			e, err := r.Info(nc.OptGo, "x")
			if err != nil || e.Flags&nc.SendDF == 0 || (e.Flags&nc.StatusPayload != 0) != (d == nc.Extended && tt.want == 0) {
				t.Errorf("%s: flags %#x, %v", tt.name, e.Flags, err)
			}
			a, err := r.Do(d, &nc.Asked{Cmd: nc.CmdBlockStatus, Cookie: 1, Length: 4096}, uint32(metaAllocation))
			if err != nil || a.Errno != tt.want {
				t.Errorf("%s: got %v, %v, want %v", tt.name, a.Errno, err, tt.want)
			}
			r.Close()
		}
	}
}

// What was negotiated before encryption begins does not count (CVE-2021-3716).
func TestB44NegotiatedBeforeTLS(t *testing.T) {
	ca := pki(t)
	b := serveTLS(t, Config{Exports: newSource().add("x", memory(t, diskSize))}, security(ca, TLSOptional))
	r := b.greeted(t)
	if err := r.Speak(nc.Extended); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Meta(nc.OptSetMetaContext, "x", "base:allocation"); err != nil {
		t.Fatal(err)
	}
	s, err := r.upgrade(clientTLS(ca, "vm1"))
	if err != nil {
		t.Fatal(err)
	}
	refusedOption(t, s, nc.OptSetMetaContext, nc.MetaData("x", "base:allocation"), nc.RepErrInvalid)
	if e, err := s.Info(nc.OptGo, "x"); err != nil || e.Flags&(nc.SendDF|nc.StatusPayload) != 0 {
		t.Errorf("flags %#x, %v", e.Flags, err)
	}
	if a := s.do(t, nc.Simple, nc.Asked{Cmd: nc.CmdRead, Length: 4096}); a.Errno != 0 || !isZero(a.Data) {
		t.Errorf("got %v", a.Errno)
	}
	if a := s.do(t, nc.Simple, nc.Asked{Cmd: nc.CmdBlockStatus, Length: 4096}); a.Errno != nc.EINVAL {
		t.Errorf("status: got %v, want EINVAL", a.Errno)
	}
}
