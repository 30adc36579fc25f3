// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strconv"

	"go.etcd.io/bbolt"
)

// GatewayID is random, made with the store, and never changes.
func (s *Store) GatewayID() ([16]byte, error) {
	m, err := s.meta()
	return m.Gateway, err
}

func (s *Store) meta() (m metaRecord, err error) {
	err = s.view(func(tx *bbolt.Tx) error {
		m, _, err = get[metaRecord](tx, bucketMeta, metaKey)
		return err
	})
	return m, err
}

// ISIDKey is what has an ISID of its own: one session between one adapter and one
// target portal. A second login with one ISID to a portal group ends the first.
type ISIDKey struct {
	// Adapter is its name, Target the target's iSCSI name, Portal its "host:port".
	Adapter, Target string
	PortalGroupTag  uint16
	Portal          string
}

// ISID gives the key's ISID, making it the first time. It has the random format
// (RFC 7143 11.12.5, ISID; T = 10b): 24 bits from the gateway's id, so that gateways
// differ, and a 16-bit qualifier that counts, so that no two keys of one share.
func (s *Store) ISID(k ISIDKey) (isid [6]byte, err error) {
	key, err := recordKey(k.Adapter, k.Target, strconv.Itoa(int(k.PortalGroupTag)), k.Portal)
	if err != nil {
		return isid, err
	}
	return findOrMake(s, bucketISIDs, key, func(c *change) (isid [6]byte, err error) {
		if c.m.ISIDs >= math.MaxUint16 {
			return isid, errors.New("state: all 65535 ISIDs are in use")
		}
		c.m.ISIDs++
		isid[0] = 0x80
		copy(isid[1:4], c.m.Gateway[:3])
		binary.BigEndian.PutUint16(isid[4:], uint16(c.m.ISIDs))
		return isid, nil
	})
}

// ISIDs lists all that were made: after an unclean stop these sessions may still
// be alive at their targets.
func (s *Store) ISIDs() (map[ISIDKey][6]byte, error) {
	all := make(map[ISIDKey][6]byte)
	err := s.view(func(tx *bbolt.Tx) error {
		return each(tx, bucketISIDs, func(key string, isid [6]byte) error {
			p := splitKey(key)
			if len(p) != 4 {
				return fmt.Errorf("%w: key %q in %s", ErrStoreCorrupt, key, bucketISIDs)
			}
			tag, err := strconv.ParseUint(p[2], 10, 16)
			all[ISIDKey{p[0], p[1], uint16(tag), p[3]}] = isid
			return err
		})
	})
	return all, err
}

// TargetKey is what a target number stands for.
type TargetKey struct {
	// Target is the iSCSI name, Portal "host:port".
	Target, Portal string
}

// TargetNumber gives the number of a target name on a portal, the T of "vmhba0:T:L",
// from 0. It is made the first time, stays, and is never given to another, not even
// after ForgetTarget.
func (s *Store) TargetNumber(k TargetKey) (int, error) {
	key, err := recordKey(k.Target, k.Portal)
	if err != nil {
		return 0, err
	}
	return findOrMake(s, bucketTargets, key, func(c *change) (int, error) {
		c.m.Targets++
		return c.m.Targets - 1, nil
	})
}

// Targets lists the numbers that are known.
func (s *Store) Targets() (map[TargetKey]int, error) {
	all := make(map[TargetKey]int)
	err := s.view(func(tx *bbolt.Tx) error {
		return each(tx, bucketTargets, func(key string, n int) error {
			p := splitKey(key)
			if len(p) != 2 {
				return fmt.Errorf("%w: key %q in %s", ErrStoreCorrupt, key, bucketTargets)
			}
			all[TargetKey{p[0], p[1]}] = n
			return nil
		})
	})
	return all, err
}

// ForgetTarget drops a number for good: the same target gets another one later.
func (s *Store) ForgetTarget(k TargetKey) error {
	key, err := recordKey(k.Target, k.Portal)
	if err != nil {
		return err
	}
	return s.remove(bucketTargets, key)
}

// BindingError tells that a configured name stands for another LUN than before.
type BindingError struct {
	// Name is as configured; Bound the identity it was first resolved to, Found the
	// one that is there now.
	Name, Bound, Found string
}

func (e *BindingError) Error() string {
	return fmt.Sprintf("%s was %s and is now %s: refused, since data would go to another LUN; unbind the name if that is meant",
		e.Name, e.Bound, e.Found)
}

// BindName records what a configured LUN name was resolved to. The same identity
// again changes nothing; another one gives a *BindingError and changes nothing.
func (s *Store) BindName(name, identity string) error {
	key, err := recordKey(name)
	if err != nil {
		return err
	}
	if _, err := recordKey(identity); err != nil {
		return err
	}
	bound, err := findOrMake(s, bucketBindings, key, func(*change) (string, error) { return identity, nil })
	if err == nil && bound != identity {
		return &BindingError{Name: name, Bound: bound, Found: identity}
	}
	return err
}

// Binding gives the identity that a name is bound to.
func (s *Store) Binding(name string) (identity string, ok bool, err error) {
	return find[string](s, bucketBindings, name)
}

// Bindings lists names and identities.
func (s *Store) Bindings() (map[string]string, error) { return list[string](s, bucketBindings) }

// Unbind lets a name be bound anew. It is no error when the name is not bound.
func (s *Store) Unbind(name string) error { return s.remove(bucketBindings, name) }

// SetAlias names an identity; an identity may have several aliases. An alias that
// names another identity is moved.
func (s *Store) SetAlias(alias, identity string) error {
	if !ValidName(alias) {
		return fmt.Errorf("alias %q: is not a name", alias)
	}
	if _, err := recordKey(identity); err != nil {
		return err
	}
	return s.update(func(c *change) error { return put(c, bucketAliases, alias, identity) })
}

// Alias gives the identity that an alias stands for.
func (s *Store) Alias(alias string) (identity string, ok bool, err error) {
	return find[string](s, bucketAliases, alias)
}

// Aliases lists aliases and their identities.
func (s *Store) Aliases() (map[string]string, error) { return list[string](s, bucketAliases) }

// RemoveAlias is no error when the alias does not exist.
func (s *Store) RemoveAlias(alias string) error { return s.remove(bucketAliases, alias) }

// SetPathDisabled keeps an administrator's decision about a path, by its name
// ("vmhba0:0:2"), which is stable since target numbers are.
func (s *Store) SetPathDisabled(path string, disabled bool) error {
	key, err := recordKey(path)
	if err != nil {
		return err
	}
	if !disabled {
		return s.remove(bucketDisabled, key)
	}
	return s.update(func(c *change) error { return put(c, bucketDisabled, key, true) })
}

// DisabledPaths is the set of paths that SetPathDisabled keeps.
func (s *Store) DisabledPaths() (map[string]bool, error) { return list[bool](s, bucketDisabled) }

// find reads one record.
func find[T any](s *Store, bucket, key string) (v T, ok bool, err error) {
	err = s.view(func(tx *bbolt.Tx) error {
		v, ok, err = get[T](tx, bucket, key)
		return err
	})
	return v, ok, err
}

// findOrMake reads a record, or writes what make gives. Only the making waits for
// the disk.
func findOrMake[T any](s *Store, bucket, key string, make func(c *change) (T, error)) (v T, err error) {
	if v, ok, err := find[T](s, bucket, key); ok || err != nil {
		return v, err
	}
	err = s.update(func(c *change) (err error) {
		var ok bool
		if v, ok, err = get[T](c.tx, bucket, key); ok || err != nil {
			return err
		}
		if v, err = make(c); err != nil {
			return err
		}
		return put(c, bucket, key, v)
	})
	return v, err
}

func list[T any](s *Store, bucket string) (map[string]T, error) {
	all := make(map[string]T)
	err := s.view(func(tx *bbolt.Tx) error {
		return each(tx, bucket, func(key string, v T) error { all[key] = v; return nil })
	})
	return all, err
}

func (s *Store) remove(bucket, key string) error {
	return s.update(func(c *change) error { return c.drop(bucket, key) })
}
