// SPDX-License-Identifier: Apache-2.0

package scsi

import (
	"errors"
	"fmt"
)

var (
	// ErrTruncated: fewer bytes were received than the data itself claims or
	// its format needs. The same command with a larger allocation length may
	// succeed.
	ErrTruncated = errors.New("data ends early")
	// ErrMalformed: a field has a value that its format forbids.
	ErrMalformed = errors.New("malformed data")
	// ErrOpcode: the CDB's operation code or service action is not the one
	// asked for, or not known here.
	ErrOpcode = errors.New("unknown operation code")
	// ErrLUNFormat: a LUN field uses an addressing method that names no single
	// logical unit of this target.
	ErrLUNFormat = errors.New("unsupported LUN addressing")
)

// truncated says that object needs need bytes and has only have.
func truncated(object string, have, need int) error {
	return fmt.Errorf("%s: %d bytes of %d: %w", object, have, need, ErrTruncated)
}

// malformed says what is wrong with object.
func malformed(object, detail string) error {
	return fmt.Errorf("%s: %s: %w", object, detail, ErrMalformed)
}
