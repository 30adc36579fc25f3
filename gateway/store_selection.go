// SPDX-License-Identifier: Apache-2.0

package gateway

import "pathgate/multipath"

// PutSelection keeps how an administrator wants a device's paths selected; nil: as
// the configuration says.
func (s *Store) PutSelection(device string, sel *multipath.Selection) error {
	key, err := recordKey(device)
	switch {
	case err != nil:
		return err
	case sel == nil:
		return s.remove(bucketSelected, key)
	}
	return s.update(func(c *change) error { return put(c, bucketSelected, key, *sel) })
}

// Selection gives what PutSelection keeps.
func (s *Store) Selection(device string) (sel multipath.Selection, ok bool, err error) {
	return find[multipath.Selection](s, bucketSelected, device)
}
