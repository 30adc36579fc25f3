// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
)

// maxSecret bounds a secret file; CHAP secrets are at most 255 bytes on the wire.
const maxSecret = 4096

// Secret refers to a file that holds a secret; it never holds the secret itself, so
// it may be printed, logged and marshalled. The zero value refers to nothing.
type Secret struct {
	// File is an absolute path. The file is regular, mode 0600 or tighter, and owned
	// by the user that the gateway runs as.
	File string
}

// String is the path, for messages.
func (s Secret) String() string { return s.File }

// MarshalText is String.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.File), nil }

// Read gives the file's content without one trailing newline. The caller owns it and
// keeps it out of logs and errors. Mode and owner are checked on the open file, so
// that no other file can be put in its place between check and read. Errors name
// the file and never its content.
func (s Secret) Read() ([]byte, error) {
	f, err := os.OpenFile(s.File, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("secret file: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("secret file: %w", err)
	}
	if err := checkSecretInfo(info); err != nil {
		return nil, fmt.Errorf("secret file %s: %w", s.File, err)
	}
	b, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	if err != nil {
		return nil, fmt.Errorf("secret file %s: %w", s.File, err)
	}
	b, _ = bytes.CutSuffix(b, []byte("\n"))
	if len(b) == 0 || len(b) > maxSecret {
		return nil, fmt.Errorf("secret file %s: holds no secret of 1 to %d bytes", s.File, maxSecret)
	}
	return b, nil
}

// checkSecretInfo refuses what others could read or replace.
func checkSecretInfo(info os.FileInfo) error {
	if !info.Mode().IsRegular() {
		return errors.New("is not a regular file")
	}
	if mode := info.Mode().Perm(); mode&^0o600 != 0 {
		return fmt.Errorf("has mode %#o, want 0600", mode)
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && int(st.Uid) != os.Geteuid() {
		return fmt.Errorf("is owned by uid %d, we are uid %d", st.Uid, os.Geteuid())
	}
	return nil
}
