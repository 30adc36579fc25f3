// SPDX-License-Identifier: Apache-2.0

package gateway

// ErasureRecord is a SANITIZE or FORMAT UNIT that has not ended, or has failed.
type ErasureRecord struct {
	// Layout is what the disk was made of then.
	Layout string `json:"layout"`
	// Erasure is what the device server wrote; nil: none.
	Erasure []byte `json:"erasure"`
}

// Erasure gives that of a VM's disk.
func (s *Store) Erasure(vm, disk string) (ErasureRecord, error) {
	key, err := recordKey(vm, disk)
	if err != nil {
		return ErasureRecord{}, err
	}
	rec, _, err := find[ErasureRecord](s, bucketErasures, key)
	return rec, err
}

// PutErasure keeps it; without an Erasure nothing is to be kept.
func (s *Store) PutErasure(vm, disk string, rec ErasureRecord) error {
	key, err := recordKey(vm, disk)
	if err != nil {
		return err
	}
	if rec.Erasure == nil {
		return s.remove(bucketErasures, key)
	}
	return s.update(func(c *change) error { return put(c, bucketErasures, key, rec) })
}
