// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"

	"go.etcd.io/bbolt"
)

// What an override record is about: the first part of its key.
const (
	overrideDisk  = "disk"
	overrideVM    = "vm"
	overrideGroup = "group"
	overrideLUN   = "lun"
)

// ShareOverrides lists all overrides, also of disks, VMs and groups that the
// configuration does not have any more.
func (s *Store) ShareOverrides() (ShareOverrides, error) {
	all := ShareOverrides{
		Disks: map[string]ShareOverride{}, VMs: map[string]VMOverride{},
		Groups: map[string]GroupOverride{}, LUNs: map[string]LUNOverride{},
	}
	err := s.view(func(tx *bbolt.Tx) error {
		return tx.Bucket([]byte(bucketShares)).ForEach(func(k, rec []byte) (err error) {
			p := splitKey(string(k))
			if len(p) != 2 {
				p = []string{"", ""}
			}
			switch p[0] {
			case overrideDisk:
				all.Disks[p[1]], err = decodeRecord[ShareOverride](bucketShares, string(k), rec)
			case overrideVM:
				all.VMs[p[1]], err = decodeRecord[VMOverride](bucketShares, string(k), rec)
			case overrideGroup:
				all.Groups[p[1]], err = decodeRecord[GroupOverride](bucketShares, string(k), rec)
			case overrideLUN:
				all.LUNs[p[1]], err = decodeRecord[LUNOverride](bucketShares, string(k), rec)
			default:
				err = fmt.Errorf("%w: key %q in %s", ErrStoreCorrupt, k, bucketShares)
			}
			return err
		})
	})
	return all, err
}

// PutShareOverrides records overrides, all or none, each in place of what was there
// for its object. One that sets nothing removes the record.
func (s *Store) PutShareOverrides(o ShareOverrides) error {
	return s.update(func(c *change) error {
		return errors.Join(
			putOverrides(c, overrideDisk, o.Disks),
			putOverrides(c, overrideVM, o.VMs),
			putOverrides(c, overrideGroup, o.Groups),
			putOverrides(c, overrideLUN, o.LUNs))
	})
}

func putOverrides[T any](c *change, kind string, all map[string]T) error {
	for _, name := range slices.Sorted(maps.Keys(all)) {
		key, err := recordKey(kind, name)
		if err != nil {
			return err
		}
		o := all[name]
		if reflect.ValueOf(o).IsZero() {
			err = c.drop(bucketShares, key)
		} else {
			err = put(c, bucketShares, key, o)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
