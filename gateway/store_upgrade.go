// SPDX-License-Identifier: Apache-2.0

package gateway

// upgrade brings a store of an older version to this one's, in one transaction: it
// gets the buckets that came since.
func (s *Store) upgrade() error {
	m, err := s.meta()
	if err != nil || m.Schema == storeSchema {
		return err
	}
	return s.update(func(c *change) error {
		for _, name := range storeBuckets() {
			if hasBucket(name, c.m.Schema) {
				continue
			}
			if _, err := c.tx.CreateBucketIfNotExists([]byte(name)); err != nil {
				return err
			}
		}
		c.m.Schema = storeSchema
		return nil
	})
}
