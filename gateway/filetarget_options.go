// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
)

// FileTargetOptions are what a FileTarget is made of, as a user writes it.
type FileTargetOptions struct {
	// Name is the target's iSCSI name; "": DefaultFileTarget.
	Name string
	// Files are files or block devices, LUN 0, 1, ...; at least one, none twice.
	Files []string
	// Size in bytes makes missing files and extends shorter ones; 0: files are as long
	// as they are.
	Size Size
	// BlockSize is the logical block, 512 or 4096 bytes; 0: that of a block device, or 512.
	BlockSize uint32
	// ReadOnly opens the files for reading and refuses changes.
	ReadOnly bool
	// Listen has an item for each portal group, tagged 1, 2, ...: its addresses, with
	// commas between, each "ip:port". Port 3260 when left out, any for port 0. Empty:
	// 127.0.0.1:3260.
	Listen []string
	// PlaintextRemote allows addresses that are not on loopback.
	PlaintextRemote bool
	// Initiators are names and networks, as VMISCSIConfig has them; empty: everyone.
	Initiators []string
	// User and SecretFile are what initiators have to prove by CHAP, MutualUser and
	// MutualSecretFile what proves the target. Empty: nothing.
	User, SecretFile             string
	MutualUser, MutualSecretFile string
	// Logger is told logins and their ends; nil: nothing is logged.
	Logger *slog.Logger
}

// DefaultFileTarget is the name of a FileTarget that is given none.
const DefaultFileTarget = defaultISCSIPrefix + ":target"

// maxFileLUNs bounds the files of one target: initiators find no more by themselves
// (LUNs with addresses of one byte).
const maxFileLUNs = 256

// fileSettings are FileTargetOptions, taken apart.
type fileSettings struct {
	name   string
	groups [][]ListenAddr
	access VMISCSIConfig
}

// Check tells all that is wrong with the options by themselves: no file is opened.
func (o *FileTargetOptions) Check() error {
	_, err := o.parse()
	return err
}

// parse takes the options apart, and tells all faults at once.
func (o *FileTargetOptions) parse() (*fileSettings, error) {
	s := &fileSettings{name: cmp.Or(o.Name, DefaultFileTarget)}
	var errs []error
	fault := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if msg, rule := checkISCSIName(s.name); msg != "" {
		fault("target name %q %s; want %s", s.name, msg, rule)
	}
	listen := o.Listen
	if len(listen) == 0 {
		listen = []string{fmt.Sprintf("127.0.0.1:%d", DefaultISCSIPort)}
	}
	for _, item := range listen {
		var group []ListenAddr
		for text := range strings.SplitSeq(item, ",") {
			a, err := parseFileListen(strings.TrimSpace(text))
			if err != nil {
				fault("listen address %q %w; want %s", text, err, iscsiListen)
			} else if !o.PlaintextRemote && !isLocal(a) {
				fault("listen address %q is reachable from other hosts without encryption; want a loopback address, or --plaintext-remote on a trusted network", text)
			}
			group = append(group, a)
		}
		s.groups = append(s.groups, group)
	}
	for _, text := range o.Initiators {
		if err := s.access.add(text); err != nil {
			fault("initiator %q %w; want %s", text, err, initiatorRule)
		}
	}
	for _, err := range []error{o.parseCHAP(&s.access), o.checkFiles()} {
		if err != nil {
			errs = append(errs, err)
		}
	}
	return s, inOneLine(errs)
}

// inOneLine makes one error of several, for a command line.
func inOneLine(errs []error) error {
	if len(errs) < 2 {
		return errors.Join(errs...)
	}
	return fmt.Errorf("%w; %w", errs[0], inOneLine(errs[1:]))
}

// parseFileListen takes port 0 too, for any that is free.
func parseFileListen(text string) (ListenAddr, error) {
	if strings.HasPrefix(text, systemdNetwork+":") {
		return ListenAddr{}, errListen // nothing is passed to it
	}
	host, anyPort := strings.CutSuffix(text, ":0")
	if !anyPort {
		return parseISCSIListen(text)
	}
	a, err := parseISCSIListen(host)
	if err == nil {
		a.Address = strings.TrimSuffix(a.Address, fmt.Sprintf(":%d", DefaultISCSIPort)) + ":0"
	}
	return a, err
}

func (o *FileTargetOptions) parseCHAP(c *VMISCSIConfig) error {
	switch {
	case o.User == "" && o.SecretFile == "":
		if o.MutualUser != "" || o.MutualSecretFile != "" {
			return errors.New("mutual CHAP needs the initiator's user and secret file too")
		}
		return nil
	case o.User == "" || o.SecretFile == "":
		return errors.New("CHAP needs a user and a secret file")
	case (o.MutualUser == "") != (o.MutualSecretFile == ""):
		return errors.New("mutual CHAP needs a user and a secret file")
	}
	for _, user := range []string{o.User, cmp.Or(o.MutualUser, o.User)} {
		if msg, rule := checkUser(user); msg != "" {
			return fmt.Errorf("CHAP user %q %s; want %s", user, msg, rule)
		}
	}
	c.CHAP = &InitiatorCHAP{
		User: o.User, Secret: Secret{o.SecretFile},
		MutualUser: o.MutualUser, MutualSecret: Secret{o.MutualSecretFile},
	}
	return nil
}

func (o *FileTargetOptions) checkFiles() error {
	if n := len(o.Files); n == 0 || n > maxFileLUNs {
		return fmt.Errorf("%d files; want 1 to %d", n, maxFileLUNs)
	}
	if b := uint64(max(o.BlockSize, 512)); uint64(o.Size)%b != 0 {
		return fmt.Errorf("size %d is not a multiple of the block size %d", uint64(o.Size), b)
	}
	seen := map[string]string{}
	for _, f := range o.Files {
		path, err := realPath(f)
		if err != nil {
			return err
		}
		if first, dup := seen[path]; dup {
			return fmt.Errorf("file %s is given twice, first as %s", f, first)
		}
		seen[path] = f
	}
	return nil
}

// realPath is the one name of a file, which need not exist yet.
func realPath(file string) (string, error) {
	path, err := filepath.Abs(file)
	if err != nil {
		return "", fmt.Errorf("file %s: %w", file, err)
	}
	dir, err := filepath.EvalSymlinks(filepath.Dir(path))
	if err != nil {
		return "", fmt.Errorf("file %s: %w", file, err)
	}
	path = filepath.Join(dir, filepath.Base(path))
	if whole, err := filepath.EvalSymlinks(path); err == nil {
		return whole, nil
	}
	return path, nil
}

// fileUUID makes the identity of a file on this machine: the same at each start,
// another one for every other file and machine.
func fileUUID(file string) (id [16]byte, err error) {
	path, err := realPath(file)
	if err != nil {
		return id, err
	}
	machine, err := os.ReadFile("/etc/machine-id")
	if err != nil {
		host, err := os.Hostname()
		if err != nil {
			return id, fmt.Errorf("neither a machine id nor a host name: %w", err)
		}
		machine = []byte(host)
	}
	h := sha256.New()
	fmt.Fprintf(h, "pathgate file target\x00%s\x00%s", machine, path)
	copy(id[:], h.Sum(nil))
	id[6], id[8] = id[6]&0x0f|0x80, id[8]&0x3f|0x80 // RFC 9562 5.8 (UUID Version 8)
	return id, nil
}
