// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/bbolt"

	"pathgate/share"
)

// someOverrides has every kind of object, and values of every type.
func someOverrides() ShareOverrides {
	return ShareOverrides{
		Disks: map[string]ShareOverride{
			"vm1/a": {Shares: ptr(int64(0)), Group: ptr(""), QueueBytes: ptr(Size(1 << 20))},
			"vm1/b": {Limits: LimitsOverride{Read: CeilingOverride{
				RateOverride: RateOverride{IOPS: ptr(int64(7))},
				Peak:         PeakOverride{RateOverride{Bandwidth: ptr(int64(1e11))}, ptr(time.Minute)},
			}}},
		},
		VMs:    map[string]VMOverride{"vm1": {Priority: ptr(int64(0))}},
		Groups: map[string]GroupOverride{"g": {Limits: LimitsOverride{CeilingOverride: CeilingOverride{Burst: BurstOverride{Ops: ptr(int64(1))}}}}},
		LUNs: map[string]LUNOverride{
			"vmhba0:0:1": {Mode: ptr(share.Strict), Window: ptr(50 * time.Millisecond), DepthGain: ptr(0.1), ExplainRing: ptr(0)},
			"file:/a b":  {SequentialGap: ptr(uint64(2000))},
		},
	}
}

func TestStoreShareOverrides(t *testing.T) {
	s := openStore(t, t.TempDir())
	want := someOverrides()
	if err := s.PutShareOverrides(want); err != nil {
		t.Fatal(err)
	}
	s = reopen(t, s)
	if diff := cmp.Diff(want, must[ShareOverrides](t)(s.ShareOverrides())); diff != "" {
		t.Error(diff)
	}
	// One replaced, two removed, one of them not there; the others stay.
	if err := s.PutShareOverrides(ShareOverrides{
		Disks: map[string]ShareOverride{"vm1/a": {IdleCredit: ptr(share.Unit(1))}, "vm1/z": {}},
		LUNs:  map[string]LUNOverride{"file:/a b": {}},
	}); err != nil {
		t.Fatal(err)
	}
	want.Disks["vm1/a"] = ShareOverride{IdleCredit: ptr(share.Unit(1))}
	delete(want.LUNs, "file:/a b")
	s = reopen(t, s)
	if diff := cmp.Diff(want, must[ShareOverrides](t)(s.ShareOverrides())); diff != "" {
		t.Error(diff)
	}
	// A name that cannot be a key: nothing of the change is there.
	if s.PutShareOverrides(ShareOverrides{
		Disks: map[string]ShareOverride{"vm1/c": {Shares: ptr(int64(1))}},
		VMs:   map[string]VMOverride{"a\x00b": {Priority: ptr(int64(1))}},
	}) == nil {
		t.Error("a name with NUL was taken")
	}
	if diff := cmp.Diff(want, must[ShareOverrides](t)(s.ShareOverrides())); diff != "" {
		t.Error(diff)
	}
}

// TestStoreShareDamage: a changed record, one that vanished, a bucket that vanished, and
// an object of an unknown kind.
func TestStoreShareDamage(t *testing.T) {
	for name, tt := range map[string]struct {
		damage func(tx *bbolt.Tx) error
		want   string
	}{
		"record changed": {
			func(tx *bbolt.Tx) error {
				b := tx.Bucket([]byte(bucketShares))
				rec := bytes.Clone(b.Get([]byte("vm\x00vm1")))
				return b.Put([]byte("vm\x00vm1"), bytes.Replace(rec, []byte(":0"), []byte(":9"), 1))
			},
			`record "vm\x00vm1" in share-overrides fails its check`,
		},
		"record gone": {
			func(tx *bbolt.Tx) error { return tx.Bucket([]byte(bucketShares)).Delete([]byte("vm\x00vm1")) },
			"has 5 of 6 records",
		},
		"bucket gone": {
			func(tx *bbolt.Tx) error { return tx.DeleteBucket([]byte(bucketShares)) },
			"share-overrides is missing",
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s := openStore(t, dir)
			if err := s.PutShareOverrides(someOverrides()); err != nil {
				t.Fatal(err)
			}
			if err := s.db.Update(tt.damage); err != nil {
				t.Fatal(err)
			}
			s.Close()
			before := must[[]byte](t)(os.ReadFile(s.Path()))
			_, err := OpenStore(dir)
			if !errors.Is(err, ErrStoreCorrupt) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %s", err, tt.want)
			}
			if !bytes.Equal(before, must[[]byte](t)(os.ReadFile(filepath.Join(dir, storeFile)))) {
				t.Error("the file was changed")
			}
		})
	}
	s := openStore(t, t.TempDir())
	if err := s.update(func(c *change) error { return put(c, bucketShares, "host\x00x", 1) }); err != nil {
		t.Fatal(err)
	}
	if _, err := s.ShareOverrides(); !errors.Is(err, ErrStoreCorrupt) {
		t.Errorf("an unknown kind: %v", err)
	}
}
