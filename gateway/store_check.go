// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"slices"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// checkFile looks at the file before bbolt maps it, since bbolt follows any page, and
// reading a mapping beyond the end of a cut file is a fault that no error value can
// report. It also refuses an empty file, which bbolt would take for a new one.
func checkFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return errors.New("is not a regular file")
	}
	if mode := info.Mode().Perm(); mode&^0o600 != 0 {
		return fmt.Errorf("has mode %#o; chmod 0600 it", mode)
	}
	return checkPages(f, info.Size())
}

// openBolt opens or makes a database. bbolt panics on what it does not expect, and a
// page that the disk cannot read is a fault: both become ErrStoreCorrupt.
func openBolt(path string) (db *bbolt.DB, err error) {
	defer recoverCorrupt(&err)()
	db, err = bbolt.Open(path, 0o600, &bbolt.Options{Timeout: time.Second, PageSize: storePageSize})
	switch {
	case errors.Is(err, bolterrors.ErrTimeout):
		return nil, fmt.Errorf("%w: another program has it open", ErrStoreInUse)
	case errors.Is(err, bolterrors.ErrInvalid), errors.Is(err, bolterrors.ErrChecksum), errors.Is(err, bolterrors.ErrVersionMismatch):
		return nil, fmt.Errorf("%w: %v", ErrStoreCorrupt, err)
	}
	return db, err
}

// recoverCorrupt is used as `defer recoverCorrupt(&err)()` around code that reads the
// mapped file, on this goroutine. It is no replacement for checkPages: reading beyond
// what bbolt has copied from the file, or following pages in a circle, ends the process.
func recoverCorrupt(err *error) func() {
	old := debug.SetPanicOnFault(true)
	return func() {
		debug.SetPanicOnFault(old)
		if r := recover(); r != nil {
			*err = fmt.Errorf("%w: %v", ErrStoreCorrupt, r)
		}
	}
}

// checkRecords walks all of the database: what it finds wrong now cannot surprise a
// failover later.
func (s *Store) checkRecords() (err error) {
	defer recoverCorrupt(&err)()
	return s.db.View(func(tx *bbolt.Tx) error {
		meta := tx.Bucket([]byte(bucketMeta))
		if meta == nil {
			return fmt.Errorf("%w: is a database of another program", ErrStoreCorrupt)
		}
		m, ok, err := get[metaRecord](tx, bucketMeta, metaKey)
		switch {
		case err != nil:
			return err
		case !ok || m.Schema < 1:
			return fmt.Errorf("%w: has no version", ErrStoreCorrupt)
		case m.Schema > storeSchema:
			return fmt.Errorf("%w: version %d, this one knows %d", ErrStoreVersion, m.Schema, storeSchema)
		}
		records, sum := 0, uint32(0)
		for _, name := range storeBuckets() {
			b := tx.Bucket([]byte(name))
			if b == nil && !hasBucket(name, m.Schema) {
				continue
			}
			if b == nil {
				return fmt.Errorf("%w: %s is missing", ErrStoreCorrupt, name)
			}
			n, x, err := checkBucket(b, name)
			if err != nil {
				return err
			}
			if name != bucketMeta {
				records, sum = records+n, sum^x
			}
		}
		if records != m.Records || sum != m.Sum {
			return fmt.Errorf("%w: has %d of %d records", ErrStoreCorrupt, records, m.Records)
		}
		return checkTree(tx)
	})
}

// checkTree is bbolt's own check: every page is either free or used, once. Without
// it a later write could land on a page that is in use.
func checkTree(tx *bbolt.Tx) error {
	var first error
	for err := range tx.Check() { // to the end: the sender waits
		if first == nil {
			first = fmt.Errorf("%w: %v", ErrStoreCorrupt, err)
		}
	}
	return first
}

// checkBucket checks order and CRC of the records, and that each is found where a
// search looks for it. It gives their number and the XOR of their CRCs.
func checkBucket(b *bbolt.Bucket, name string) (records int, sum uint32, err error) {
	var last []byte
	err = b.ForEach(func(k, rec []byte) error {
		if last != nil && slices.Compare(last, k) >= 0 {
			return fmt.Errorf("%w: records of %s are out of order", ErrStoreCorrupt, name)
		}
		last = slices.Clone(k)
		if _, err := recordPayload(name, string(k), rec); err != nil {
			return err
		}
		if b.Get(k) == nil {
			return fmt.Errorf("%w: record %q of %s cannot be found", ErrStoreCorrupt, k, name)
		}
		records++
		sum ^= binary.LittleEndian.Uint32(rec)
		return nil
	})
	return records, sum, err
}
