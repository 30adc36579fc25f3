// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestStoreUpgrade: a store of an older version keeps all it had and takes what is new.
func TestStoreUpgrade(t *testing.T) {
	for version := 1; version < storeSchema; version++ {
		t.Run(fmt.Sprint(version), func(t *testing.T) { upgradeFrom(t, version) })
	}
}

func upgradeFrom(t *testing.T, version int) {
	s := openStore(t, t.TempDir())
	key := ISIDKey{"vmhba0", "iqn.2026-11.test:a", 1, "127.0.0.1:3260"}
	isid := must[[6]byte](t)(s.ISID(key))
	ghost := GhostRecord{Device: "d", Whole: true, Path: "p"}
	if err := s.PutGhosts(ghost); err != nil {
		t.Fatal(err)
	}
	if err := s.update(func(c *change) error {
		c.m.Schema = version
		for _, name := range storeBuckets() {
			if hasBucket(name, version) {
				continue
			}
			if err := c.tx.DeleteBucket([]byte(name)); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	s = reopen(t, s)
	if m := must[metaRecord](t)(s.meta()); m.Schema != storeSchema {
		t.Errorf("version %d", m.Schema)
	}
	if err := s.PutShareOverrides(someOverrides()); err != nil {
		t.Fatal(err)
	}
	if err := s.PutSelection("naa.1", someSelection()); err != nil {
		t.Fatal(err)
	}
	uuid := must[[16]byte](t)(s.DiskUUID("vm1", "root"))
	if err := s.PutReservations("vm1", "root", []byte("kept")); err != nil {
		t.Fatal(err)
	}
	if err := s.PutErasure("vm1", "root", ErasureRecord{Erasure: []byte("kept")}); err != nil {
		t.Fatal(err)
	}
	s = reopen(t, s)
	if got := must[[16]byte](t)(s.DiskUUID("vm1", "root")); got != uuid {
		t.Errorf("UUID %x, want %x", got, uuid)
	}
	if got := must[[]byte](t)(s.Reservations("vm1", "root")); string(got) != "kept" {
		t.Errorf("reservations %q", got)
	}
	if got := must[[6]byte](t)(s.ISID(key)); got != isid {
		t.Errorf("ISID %x, want %x", got, isid)
	}
	if diff := cmp.Diff([]GhostRecord{ghost}, must[[]GhostRecord](t)(s.Ghosts())); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(someOverrides(), must[ShareOverrides](t)(s.ShareOverrides())); diff != "" {
		t.Error(diff)
	}
	if got, ok, err := s.Selection("naa.1"); !ok || err != nil || !cmp.Equal(got, *someSelection()) {
		t.Errorf("selection %v, %v, %v", got, ok, err)
	}
}
