// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"fmt"
	"strconv"

	"go.etcd.io/bbolt"

	"pathgate/multipath"
)

// ClaimRules lists the claim rules that were added at run time, by number.
func (s *Store) ClaimRules() (rules []multipath.ClaimRule, err error) {
	err = s.view(func(tx *bbolt.Tx) error {
		return each(tx, bucketClaims, func(key string, r multipath.ClaimRule) error {
			if key != claimKey(r.Number) {
				return fmt.Errorf("%w: key %q in %s", ErrStoreCorrupt, key, bucketClaims)
			}
			rules = append(rules, r)
			return nil
		})
	})
	return rules, err
}

// PutClaimRule keeps a rule, in place of one of its number.
func (s *Store) PutClaimRule(r multipath.ClaimRule) error {
	return s.update(func(c *change) error { return put(c, bucketClaims, claimKey(r.Number), r) })
}

// RemoveClaimRules drops rules; it is no error when one is not there.
func (s *Store) RemoveClaimRules(numbers ...int) error {
	return s.update(func(c *change) error {
		for _, n := range numbers {
			if err := c.drop(bucketClaims, claimKey(n)); err != nil {
				return err
			}
		}
		return nil
	})
}

// claimKey has as many digits for every number, so that the order of keys is theirs.
func claimKey(number int) string { return fmt.Sprintf("%05s", strconv.Itoa(number)) }
