// SPDX-License-Identifier: Apache-2.0

package scsi

import (
	"errors"
	"reflect"
	"testing"
)

var copyLimits = CopyLimits{Targets: 2, Segments: 2, ListBytes: 160}

func sampleCopy(targets, segments int) CopyList {
	l := CopyList{ID: 7, Usage: 2}
	for i := range targets {
		d := NAALocal(uint64(i + 1))
		l.Targets = append(l.Targets, CopyTarget{Designator: d, BlockSize: 512})
	}
	for i := range segments {
		l.Segments = append(l.Segments, CopySegment{
			Source: uint16(i), Destination: 1, Blocks: 2048, ByDestination: i == 1,
			SourceLBA: 1 << 40, DestinationLBA: uint64(i),
		})
	}
	return l
}

func TestCopyList(t *testing.T) {
	for _, want := range []CopyList{{}, sampleCopy(1, 0), sampleCopy(2, 2)} {
		b := want.Append(nil)
		got, err := DecodeCopyList(b, copyLimits)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v, %v, want %+v", got, err, want)
		}
		for n := range b {
			if _, err := DecodeCopyList(b[:n], copyLimits); !errors.Is(err, ErrTruncated) {
				t.Errorf("%d bytes of %d: %v, want %v", n, len(b), err, ErrTruncated)
			}
		}
	}
}

func TestCopyListErrors(t *testing.T) {
	change := func(l CopyList, at int, to byte) []byte {
		b := l.Append(nil)
		b[at] = to
		return b
	}
	tests := []struct {
		name string
		b    []byte
		want error
	}{
		{"targets", sampleCopy(3, 1).Append(nil), ErrTooManyTargets},
		{"segments", sampleCopy(1, 3).Append(nil), ErrTooManySegments},
		{"all descriptors", sampleCopy(3, 3).Append(nil), ErrTruncated},
		{"target type", change(sampleCopy(1, 1), 16, 0xe0), ErrTargetDescriptor},
		{"segment type", change(sampleCopy(1, 1), 48, 0x03), ErrSegmentDescriptor},
		{"inline data", change(sampleCopy(1, 1), 15, 1), ErrInlineDataExceeded},
		{"designator", change(sampleCopy(1, 1), 23, 21), ErrMalformed},
		{"part of a target", change(sampleCopy(1, 0), 3, 31), ErrTruncated},
	}
	for _, tt := range tests {
		if _, err := DecodeCopyList(tt.b, copyLimits); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
}

func FuzzCopyList(f *testing.F) {
	f.Add(sampleCopy(2, 2).Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := DecodeCopyList(b, copyLimits)
		if err != nil {
			return
		}
		again, err := DecodeCopyList(l.Append(nil), copyLimits)
		if err != nil || !reflect.DeepEqual(again, l) {
			t.Errorf("%+v becomes %+v, %v", l, again, err)
		}
	})
}
