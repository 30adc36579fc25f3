// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"strings"
	"sync"
	"time"

	"pathgate/backends"
	"pathgate/gateway/iscsi"
	"pathgate/gateway/scsi"
	wire "pathgate/internal/iscsi"
	spc "pathgate/internal/scsi"
)

// fileDrain is how long initiators may take to log out at the end: somebody waits for
// it at a keyboard.
const fileDrain = 2 * time.Second

// FileTarget is an iSCSI target over files, with nothing of a gateway between: no
// state, no VMs, no shares, no control socket. Make it with OpenFileTarget, and run
// it once.
type FileTarget struct {
	name      string
	access    access
	log       *slog.Logger
	luns      []fileLUN
	listeners []fileListener
	target    *scsi.Target
	server    *iscsi.Server
}

// fileLUN is one file of a FileTarget.
type fileLUN struct {
	path string
	file *backends.File
	unit *scsi.Unit
}

// fileListener is an open portal.
type fileListener struct {
	net.Listener
	tag uint16
}

// FileLUN is what a FileTarget shows of one file.
type FileLUN struct {
	LUN       int    `json:"lun"`
	File      string `json:"file"`
	Size      uint64 `json:"size"`      // bytes
	BlockSize uint32 `json:"blockSize"` // bytes
	ReadOnly  bool   `json:"readOnly"`
}

// FilePortal is one address of a FileTarget.
type FilePortal struct {
	Address string `json:"address"` // with the port that was chosen, if it was 0
	Group   uint16 `json:"group"`   // portal group tag
}

// OpenFileTarget opens the files and listens, or leaves nothing open. Nobody is
// answered before Run.
func OpenFileTarget(o FileTargetOptions) (*FileTarget, error) {
	s, err := o.parse()
	if err != nil {
		return nil, err
	}
	t := &FileTarget{name: s.name, access: access{&s.access}, log: o.Logger}
	if t.log == nil {
		t.log = slog.New(slog.DiscardHandler)
	}
	if err := t.open(&o, s); err != nil {
		return nil, errors.Join(err, t.close())
	}
	return t, nil
}

func (t *FileTarget) open(o *FileTargetOptions, s *fileSettings) error {
	if _, err := t.access.settings(); err != nil {
		return err
	}
	var ports []scsi.Port
	for i := range s.groups {
		ports = append(ports, scsi.Port{Relative: portalTag(i), PortalGroupTag: portalTag(i), Group: 1})
	}
	var err error
	if t.target, err = scsi.NewTarget(scsi.TargetConfig{Name: s.name, Ports: ports}); err != nil {
		return err
	}
	if t.server, err = iscsi.New(iscsi.Config{Targets: fileSource{t}, Logger: t.log, DrainTimeout: fileDrain}); err != nil {
		return err
	}
	for _, path := range o.Files {
		if err := t.add(path, o); err != nil {
			return err
		}
	}
	for i, group := range s.groups {
		for _, a := range group {
			l, err := listenOn(a)
			if err != nil {
				return err
			}
			t.listeners = append(t.listeners, fileListener{l, portalTag(i)})
		}
	}
	return nil
}

// add opens one file as the next LUN.
func (t *FileTarget) add(path string, o *FileTargetOptions) error {
	lun := len(t.luns)
	f, err := backends.OpenFile(path, backends.FileOptions{Size: uint64(o.Size), BlockSize: o.BlockSize, ReadOnly: o.ReadOnly})
	if errors.Is(err, fs.ErrNotExist) && o.Size == 0 && !o.ReadOnly {
		err = fmt.Errorf("%w; --size makes it", err)
	}
	if err != nil {
		return fmt.Errorf("LUN %d: %w", lun, err)
	}
	t.luns = append(t.luns, fileLUN{path: path, file: f})
	uuid, err := fileUUID(path)
	if err != nil {
		return fmt.Errorf("LUN %d: %w", lun, err)
	}
	u, err := scsi.NewUnit(scsi.UnitConfig{Device: f, UUID: uuid, Product: "FILE"})
	if err != nil {
		return fmt.Errorf("LUN %d, file %s: %w", lun, path, err)
	}
	t.luns[lun].unit = u
	return t.target.Add(spc.LUN(lun), scsi.Mapping{Unit: u})
}

// Name gives the target's name.
func (t *FileTarget) Name() string { return t.name }

// Portals gives the addresses, in the order of the options.
func (t *FileTarget) Portals() (list []FilePortal) {
	for _, l := range t.listeners {
		list = append(list, FilePortal{Address: l.Addr().String(), Group: l.tag})
	}
	return list
}

// LUNs gives what is shown, by number.
func (t *FileTarget) LUNs() (list []FileLUN) {
	for i, l := range t.luns {
		info := l.file.Info()
		list = append(list, FileLUN{
			LUN: i, File: l.path, Size: info.Size, BlockSize: info.LogicalBlock,
			ReadOnly: info.Caps.Has(backends.ReadOnly),
		})
	}
	return list
}

// Run serves until ctx ends or a listener fails. Then initiators are asked to log out
// and, after a time, cut off; what they had outstanding is carried out, and the files
// are made durable and closed.
func (t *FileTarget) Run(ctx context.Context) error {
	serving, stop := context.WithCancel(ctx)
	defer stop()
	var portals sync.WaitGroup
	var errs errorList
	for _, l := range t.listeners {
		portals.Go(func() {
			defer stop() // one portal alone is not what was asked for
			errs.add(t.server.Serve(serving, l.Listener, iscsi.Portal{GroupTag: l.tag}))
		})
	}
	portals.Wait()
	return errors.Join(errs.join(), t.close())
}

// close closes what open has opened.
func (t *FileTarget) close() error {
	var errs []error
	for _, l := range t.listeners {
		_ = l.Close() // a second time is an error that tells nothing
	}
	for _, l := range t.luns {
		if l.unit != nil {
			l.unit.Close()
		}
		if err := l.file.Close(); err != nil {
			errs = append(errs, fmt.Errorf("close %s: %w", l.path, err))
		}
	}
	return errors.Join(errs...)
}

// fileSource shows a FileTarget to the iSCSI server.
type fileSource struct{ t *FileTarget }

// Authentication tells what p has to prove; for discovery it is the same.
func (s fileSource) Authentication(p *iscsi.Peer, name string) (wire.TargetAuthSettings, error) {
	if name != "" {
		if err := s.find(p, name); err != nil {
			return wire.TargetAuthSettings{}, err
		}
	}
	set, err := s.t.access.settings()
	if err != nil {
		err = fmt.Errorf("%w: %v", iscsi.ErrUnavailable, err)
	}
	return set, err
}

// find is an error unless name is the target's and p may know of it.
func (s fileSource) find(p *iscsi.Peer, name string) error {
	switch {
	case strings.ToLower(name) != s.t.name:
		return fmt.Errorf("%w: %q; this one is %s", iscsi.ErrNotFound, name, s.t.name)
	case !s.t.access.admits(p):
		return fmt.Errorf("%w: %s at %v may not use it", iscsi.ErrNotFound, p.Initiator, peerAddr(p))
	}
	return nil
}

// List gives the target to those who may use it.
func (s fileSource) List(p *iscsi.Peer) []string {
	if s.t.access.admits(p) && s.t.access.proved(p) {
		return []string{s.t.name}
	}
	return nil
}

// Open gives p the use of all LUNs.
func (s fileSource) Open(p *iscsi.Peer, name string) (iscsi.Handle, error) {
	if err := s.find(p, name); err != nil {
		return iscsi.Handle{}, err
	}
	return iscsi.Handle{Target: s.t.target, Port: p.PortalGroupTag}, nil
}
