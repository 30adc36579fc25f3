// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"os"
	"strings"

	"go.etcd.io/bbolt"
)

// A record is JSON behind a CRC-32C of bucket, key and JSON: bbolt checksums its two
// meta pages only, so without it a flipped bit in an ISID would go unseen.

const recordHeader = 4

func recordCRC(bucket, key string, payload []byte) uint32 {
	t := crc32.MakeTable(crc32.Castagnoli)
	sum := crc32.Update(0, t, []byte(bucket+"\x00"+key+"\x00"))
	return crc32.Update(sum, t, payload)
}

// change is one durable change: a transaction and the meta record that goes with it.
type change struct {
	tx *bbolt.Tx
	m  metaRecord
}

// view runs f on what is stored now. Reading a mapping beyond the end of a file that
// was cut since Open would end the process, so that is checked first.
func (s *Store) view(f func(tx *bbolt.Tx) error) (err error) {
	defer func() {
		if err != nil {
			err = s.refuse(err)
		}
	}()
	defer recoverCorrupt(&err)()
	if err := s.checkSize(2 * storePageSize); err != nil { // to begin needs the headers
		return err
	}
	return s.db.View(func(tx *bbolt.Tx) error {
		if err := s.checkSize(tx.Size()); err != nil {
			return err
		}
		return f(tx)
	})
}

// checkSize needs no lock: the file never shrinks.
func (s *Store) checkSize(want int64) error {
	info, err := os.Stat(s.path)
	if err == nil && info.Size() < want {
		err = corrupt("cut to %d of at least %d bytes", info.Size(), want)
	}
	return err
}

// update runs f and writes all that it changed, or, on an error, nothing. A cut file is
// found before the change begins, since going back would read it too; for the same
// reason no fault is recovered from here: bbolt would keep its lock.
func (s *Store) update(f func(c *change) error) error {
	if err := s.view(func(*bbolt.Tx) error { return nil }); err != nil {
		return err
	}
	return s.db.Update(func(tx *bbolt.Tx) error {
		c := &change{tx: tx}
		var err error
		if c.m, _, err = get[metaRecord](tx, bucketMeta, metaKey); err != nil {
			return err
		}
		if err := f(c); err != nil {
			return err
		}
		return putRecord(tx, bucketMeta, metaKey, c.m)
	})
}

// put writes v under key.
func put[T any](c *change, bucket, key string, v T) error {
	c.count(bucket, key, -1)
	if err := putRecord(c.tx, bucket, key, v); err != nil {
		return err
	}
	c.count(bucket, key, 1)
	return nil
}

// drop removes the record under key, if there is one.
func (c *change) drop(bucket, key string) error {
	c.count(bucket, key, -1)
	return c.tx.Bucket([]byte(bucket)).Delete([]byte(key))
}

// count takes the record under key, if there is one, into or out of the sum.
func (c *change) count(bucket, key string, n int) {
	if rec := c.tx.Bucket([]byte(bucket)).Get([]byte(key)); len(rec) >= recordHeader {
		c.m.Records += n
		c.m.Sum ^= binary.LittleEndian.Uint32(rec)
	}
}

// putRecord is for the meta record, which is not in its own sum.
func putRecord[T any](tx *bbolt.Tx, bucket, key string, v T) error {
	payload, err := json.Marshal(v)
	if err != nil {
		return err
	}
	rec := binary.LittleEndian.AppendUint32(make([]byte, 0, recordHeader+len(payload)), recordCRC(bucket, key, payload))
	return tx.Bucket([]byte(bucket)).Put([]byte(key), append(rec, payload...))
}

// get reads the record under key; ok is false when there is none.
func get[T any](tx *bbolt.Tx, bucket, key string) (v T, ok bool, err error) {
	rec := tx.Bucket([]byte(bucket)).Get([]byte(key))
	if rec == nil {
		return v, false, nil
	}
	v, err = decodeRecord[T](bucket, key, rec)
	return v, err == nil, err
}

func decodeRecord[T any](bucket, key string, rec []byte) (v T, err error) {
	payload, err := recordPayload(bucket, key, rec)
	if err != nil {
		return v, err
	}
	if err := json.Unmarshal(payload, &v); err != nil {
		return v, fmt.Errorf("%w: record %q in %s: %v", ErrStoreCorrupt, key, bucket, err)
	}
	return v, nil
}

func recordPayload(bucket, key string, rec []byte) ([]byte, error) {
	if len(rec) < recordHeader || binary.LittleEndian.Uint32(rec) != recordCRC(bucket, key, rec[recordHeader:]) {
		return nil, fmt.Errorf("%w: record %q in %s fails its check", ErrStoreCorrupt, key, bucket)
	}
	return rec[recordHeader:], nil
}

// each calls f for every record of a bucket, in key order.
func each[T any](tx *bbolt.Tx, bucket string, f func(key string, v T) error) error {
	return tx.Bucket([]byte(bucket)).ForEach(func(k, rec []byte) error {
		v, err := decodeRecord[T](bucket, string(k), rec)
		if err != nil {
			return err
		}
		return f(string(k), v)
	})
}

// recordKey joins parts that hold no NUL into a key.
func recordKey(parts ...string) (string, error) {
	for _, p := range parts {
		if p == "" || len(p) > 1024 || strings.ContainsRune(p, 0) {
			return "", fmt.Errorf("state: %q cannot be part of a key", p)
		}
	}
	return strings.Join(parts, "\x00"), nil
}

func splitKey(key string) []string { return strings.Split(key, "\x00") }
