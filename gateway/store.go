// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"go.etcd.io/bbolt"
)

// Store keeps what must survive a restart of this gateway, in one file of its state
// directory. Every method that changes something returns after the change is on
// stable storage, or with an error and nothing changed. All methods are safe for
// concurrent use; a change waits for the disk, so none belongs on the data path.
//
// What is read at Open is checked whole: the pages' structure and a CRC of each
// record. A file that fails is reported and left as it is, never repaired or
// replaced: a gateway that forgets its ghosts or ISIDs can corrupt a disk.
type Store struct {
	path string
	lock *os.File
	db   *bbolt.DB
}

// Why a store cannot be opened. The error's text names the file and says what to do.
var (
	ErrStoreInUse   = errors.New("in use by another gateway")
	ErrStoreCorrupt = errors.New("damaged")
	ErrStoreVersion = errors.New("made by a newer pathgate")
)

const (
	storeFile = "state.db"
	lockFile  = "state.lock"
	// storeSchema is the version that this code writes; it reads the older ones too.
	storeSchema   = 6
	storePageSize = 4096
)

// Buckets of the database. Each holds records of one type.
const (
	bucketMeta     = "meta"
	bucketISIDs    = "isids"
	bucketTargets  = "targets"
	bucketBindings = "bindings"
	bucketAliases  = "aliases"
	bucketDisabled = "disabled-paths"
	bucketGhosts   = "ghosts"
	bucketLUNs     = "lun-numbers"
	bucketLUNNext  = "lun-next"
	bucketShares   = "share-overrides" // since version 2
	bucketSelected = "path-selection"  // since version 3
	bucketClaims   = "claim-rules"     // since version 4
	bucketUUIDs    = "disk-uuids"      // since version 5
	// bucketReservations are those that initiators have of our disks.
	bucketReservations = "disk-reservations" // since version 5
	bucketErasures     = "disk-erasures"     // since version 6
)

func storeBuckets() []string {
	return []string{
		bucketMeta, bucketISIDs, bucketTargets, bucketBindings, bucketAliases,
		bucketDisabled, bucketGhosts, bucketLUNs, bucketLUNNext, bucketShares,
		bucketSelected, bucketClaims, bucketUUIDs, bucketReservations, bucketErasures,
	}
}

// hasBucket tells whether a store of a version has the bucket.
func hasBucket(name string, schema int) bool {
	since := map[string]int{
		bucketShares: 2, bucketSelected: 3, bucketClaims: 4, bucketUUIDs: 5, bucketReservations: 5,
		bucketErasures: 6,
	}
	return schema >= since[name]
}

// metaRecord is the one record of bucketMeta.
type metaRecord struct {
	Schema int `json:"schema"`
	// Gateway is random and made once.
	Gateway [16]byte `json:"gateway"`
	// Epoch counts the starts; Clean tells whether the last run ended with CleanStop.
	Epoch uint64 `json:"epoch"`
	Clean bool   `json:"clean"`
	// ISIDs and Targets are how many numbers were given out, never less.
	ISIDs   int `json:"isids"`
	Targets int `json:"targets"`
	// Records and Sum are the number of all other records and the XOR of their CRCs:
	// no record can vanish unseen.
	Records int    `json:"records"`
	Sum     uint32 `json:"sum"`
}

const metaKey = "gateway"

// OpenStore opens the store in dir, an absolute directory; both are made (modes 0700
// and 0600) when missing. The store is locked until Close: a second gateway on it
// gets ErrStoreInUse. Other errors are ErrStoreCorrupt, ErrStoreVersion and those of
// the file system.
func OpenStore(dir string) (*Store, error) {
	if err := makeStateDir(dir); err != nil {
		return nil, fmt.Errorf("state directory: %w", err)
	}
	lock, err := lockState(dir)
	if err != nil {
		return nil, err
	}
	s := &Store{path: filepath.Join(dir, storeFile), lock: lock}
	if err := s.open(dir); err != nil {
		lock.Close()
		return nil, err
	}
	return s, nil
}

// open needs the lock: nobody else creates or changes the file.
func (s *Store) open(dir string) error {
	_, err := os.Lstat(s.path)
	if errors.Is(err, os.ErrNotExist) {
		err = createStore(dir)
	}
	if err != nil {
		return fmt.Errorf("state file %s: %w", s.path, err)
	}
	if err := checkFile(s.path); err != nil {
		return s.refuse(err)
	}
	s.db, err = openBolt(s.path)
	if err != nil {
		return s.refuse(err)
	}
	if err := s.checkRecords(); err != nil {
		s.db.Close()
		return s.refuse(err)
	}
	if err := s.upgrade(); err != nil {
		s.db.Close()
		return s.refuse(err)
	}
	return nil
}

// refuse adds the file's name and what a person can do.
func (s *Store) refuse(err error) error {
	switch {
	case errors.Is(err, ErrStoreCorrupt):
		return fmt.Errorf("state file %s: %w; it was left as it is: restore a copy, or move it away to begin anew "+
			"after no write of this gateway can still be on its way to a target", s.path, err)
	case errors.Is(err, ErrStoreVersion):
		return fmt.Errorf("state file %s: %w; use that version, or a state directory of its own", s.path, err)
	}
	return fmt.Errorf("state file %s: %w", s.path, err)
}

// Close gives the file and the lock back. Twice is safe. It does not record a clean stop.
func (s *Store) Close() error {
	err := s.db.Close()
	if lerr := s.lock.Close(); lerr != nil && !errors.Is(lerr, os.ErrClosed) {
		err = errors.Join(err, lerr)
	}
	return err
}

// Path is the database file, for messages.
func (s *Store) Path() string { return s.path }

// makeStateDir makes dir durable, so that the store in it is.
func makeStateDir(dir string) error {
	if !filepath.IsAbs(dir) {
		return fmt.Errorf("%s is not an absolute path", dir)
	}
	if info, err := os.Stat(dir); err == nil {
		if !info.IsDir() {
			return fmt.Errorf("%s is not a directory", dir)
		}
		return nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return syncDir(filepath.Dir(dir))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// lockState takes the lock file, which is separate from the database so that creating
// and checking the database happen under it, and so that it can name its holder.
func lockState(dir string) (*os.File, error) {
	path := filepath.Join(dir, lockFile)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("state lock: %w", err)
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		holder := lockHolder(f)
		f.Close()
		return nil, fmt.Errorf("state %s: %w%s; stop it, or give this one a state directory of its own", path, ErrStoreInUse, holder)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("state lock %s: %w", path, err)
	}
	// The pid only helps a person; a lock without it is as good.
	if f.Truncate(0) == nil {
		_, _ = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	return f, nil
}

func lockHolder(f *os.File) string {
	b, _ := io.ReadAll(io.LimitReader(f, 32))
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		return ""
	}
	return fmt.Sprintf(" (pid %d)", pid)
}

// createStore makes the database under another name and moves it in place when it is
// complete, so that a crash leaves either nothing or a whole file.
func createStore(dir string) error {
	tmp := filepath.Join(dir, storeFile+".new")
	if err := os.Remove(tmp); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	db, err := openBolt(tmp)
	if err != nil {
		return err
	}
	m := metaRecord{Schema: storeSchema, Clean: true}
	if _, err := rand.Read(m.Gateway[:]); err != nil {
		return errors.Join(err, db.Close())
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		for _, name := range storeBuckets() {
			if _, err := tx.CreateBucket([]byte(name)); err != nil {
				return err
			}
		}
		return putRecord(tx, bucketMeta, metaKey, m)
	})
	if err = errors.Join(err, db.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp, filepath.Join(dir, storeFile)); err != nil {
		return err
	}
	return syncDir(dir)
}
