// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"errors"
	"fmt"
	"time"

	"go.etcd.io/bbolt"
)

// GhostRecord is a write-class command that was sent on a path and whose end is not
// known: it may still change the medium. It is kept until it is fenced.
type GhostRecord struct {
	// Device is the LUN's identity.
	Device string `json:"device"`
	// Whole: the command has no range, all of the LUN is held. Otherwise Offset and
	// Length say what is held, in bytes: the block size may not be known at restart.
	Whole  bool   `json:"whole,omitempty"`
	Offset uint64 `json:"offset,omitempty"`
	Length uint64 `json:"length,omitempty"`
	// Path is the path's name ("vmhba0:0:2"), Epoch the run of the gateway
	// (Store.Begin) and Generation the login of the session in that run.
	Path       string `json:"path"`
	Epoch      uint64 `json:"epoch"`
	Generation uint64 `json:"generation"`
	// Target and Portal are those of the path, GroupTag, if Tagged, the target portal
	// group of the login.
	Target   string `json:"target,omitempty"`
	Portal   string `json:"portal,omitempty"`
	Tagged   bool   `json:"tagged,omitempty"`
	GroupTag uint16 `json:"group_tag,omitempty"`
	ITT      uint32 `json:"itt"`
	CmdSN    uint32 `json:"cmdsn"`
	// Time is when the path was lost; only for people and for QuiesceTime.
	Time time.Time `json:"time"`
}

// key tells one sending of one command from all others. Device comes first: the
// records of one LUN stand together.
func (g GhostRecord) key() (string, error) {
	if !g.Whole && (g.Length == 0 || g.Offset+g.Length < g.Offset) {
		return "", fmt.Errorf("state: ghost on %s has the range %d+%d", g.Device, g.Offset, g.Length)
	}
	return recordKey(g.Device, g.Path,
		fmt.Sprintf("%020d", g.Epoch), fmt.Sprintf("%020d", g.Generation), fmt.Sprintf("%08x-%08x", g.ITT, g.CmdSN))
}

// PutGhosts records ghosts, all or none, with one wait for the disk. A ghost that is
// there already is replaced.
func (s *Store) PutGhosts(ghosts ...GhostRecord) error {
	if len(ghosts) == 0 {
		return nil
	}
	return s.update(func(c *change) error {
		for _, g := range ghosts {
			key, err := g.key()
			if err != nil {
				return err
			}
			if err := put(c, bucketGhosts, key, g); err != nil {
				return err
			}
		}
		return nil
	})
}

// DeleteGhosts removes fenced ghosts, all or none; Time and range are not compared.
// It is no error when one is not there.
func (s *Store) DeleteGhosts(ghosts ...GhostRecord) error {
	if len(ghosts) == 0 {
		return nil
	}
	return s.update(func(c *change) error {
		for _, g := range ghosts {
			key, err := g.key()
			if err != nil {
				return err
			}
			if err := c.drop(bucketGhosts, key); err != nil {
				return err
			}
		}
		return nil
	})
}

// Ghosts lists all ghosts, those of one device and path together, oldest run first.
func (s *Store) Ghosts() ([]GhostRecord, error) {
	var all []GhostRecord
	err := s.view(func(tx *bbolt.Tx) error {
		return each(tx, bucketGhosts, func(_ string, g GhostRecord) error { all = append(all, g); return nil })
	})
	return all, err
}

// Begin records that the gateway runs, before its first login. epoch counts the
// runs, from 1. clean tells that the run before ended with CleanStop, or that there
// was none; otherwise every session in ISIDs may still have writes on their way.
func (s *Store) Begin() (epoch uint64, clean bool, err error) {
	err = s.update(func(c *change) error {
		clean = c.m.Clean
		c.m.Clean = false
		c.m.Epoch++
		epoch = c.m.Epoch
		return nil
	})
	return epoch, clean, err
}

// CleanStop records that all requests have ended and all sessions have logged out.
// It is the last call before Close. It refuses while ghosts are recorded.
func (s *Store) CleanStop() error {
	return s.update(func(c *change) error {
		if k, _ := c.tx.Bucket([]byte(bucketGhosts)).Cursor().First(); k != nil {
			return errors.New("state: a stop with ghosts left is not clean")
		}
		c.m.Clean = true
		return nil
	})
}
