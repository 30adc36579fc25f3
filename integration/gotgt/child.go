// SPDX-License-Identifier: Apache-2.0

package gotgt

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"time"

	"github.com/gostor/gotgt/pkg/config"
	_ "github.com/gostor/gotgt/pkg/port/iscsit" // registers the iSCSI driver
	"github.com/gostor/gotgt/pkg/scsi"
	_ "github.com/gostor/gotgt/pkg/scsi/backingstore" // registers "file"
	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"
)

// Command is the first argument of a process that is a target.
const Command = "gotgt-target"

// ready is what the process says on its standard output once it listens.
const ready = "ready\n"

// Main is the target's process: it reads its job from standard input and serves
// until that is closed or the parent dies. args are what follows Command: none.
func Main(args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("%s: started by a test, takes no arguments", Command)
	}
	logrus.SetOutput(io.Discard)
	logrus.SetLevel(logrus.PanicLevel) // it formats every PDU otherwise
	in := bufio.NewReader(os.Stdin)
	line, err := in.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("%s: read the job: %w", Command, err)
	}
	var j job
	if err := json.Unmarshal(line, &j); err != nil {
		return fmt.Errorf("%s: read the job: %w", Command, err)
	}
	ended := make(chan error, 2)
	if err := j.serve(ended); err != nil {
		return fmt.Errorf("%s: %w", Command, err)
	}
	if err := guardListener(); err != nil {
		return fmt.Errorf("%s: %w", Command, err)
	}
	if _, err := os.Stdout.WriteString(ready); err != nil {
		return fmt.Errorf("%s: %w", Command, err)
	}
	go func() {
		_, err := io.Copy(io.Discard, in) // until the parent closes it or is gone
		ended <- err
	}()
	return <-ended
}

// serve starts gotgt. ended is told if it stops.
func (j *job) serve(ended chan<- error) error {
	cfg := &config.Config{ISCSITargets: map[string]config.ISCSITarget{}}
	group := []uint64{}
	for i, p := range j.Portals {
		cfg.ISCSIPortals = append(cfg.ISCSIPortals, config.ISCSIPortalInfo{ID: uint16(i), Portal: p})
		group = append(group, uint64(i))
	}
	luns := map[string]uint64{}
	for _, l := range j.LUNs {
		cfg.Storages = append(cfg.Storages, config.BackendStorage{DeviceID: l.ID, Path: "file:" + l.File, Online: true})
		luns[strconv.Itoa(int(l.Number))] = l.ID
	}
	cfg.ISCSITargets[j.Target] = config.ISCSITarget{
		TPGTs: map[string][]uint64{strconv.Itoa(int(j.GroupTag)): group},
		LUNs:  luns,
	}
	if err := scsi.InitSCSILUMap(cfg); err != nil {
		return fmt.Errorf("open the LUNs: %w", err)
	}
	driver, err := scsi.NewTargetDriver("iscsi", scsi.NewSCSITargetService())
	if err != nil {
		return err
	}
	if err := driver.NewTarget(j.Target, cfg); err != nil {
		return fmt.Errorf("make target %s: %w", j.Target, err)
	}
	go func() {
		err := driver.Run(int(j.Port)) // ends the process when it cannot listen
		ended <- errors.Join(errors.New("the listener has ended"), err)
	}()
	return nil
}

// guardListener waits until gotgt listens, which it does on every interface,
// and has the socket drop all that does not come over the loopback interface.
func guardListener() error {
	lo, err := net.InterfaceByName("lo")
	if err != nil {
		return fmt.Errorf("find the loopback interface: %w", err)
	}
	for range 500 {
		fd, err := findListener()
		if err != nil {
			return err
		}
		if fd >= 0 {
			return filterInterface(fd, lo.Index)
		}
		time.Sleep(time.Millisecond)
	}
	return errors.New("it does not listen")
}

// findListener gives the socket that listens, or -1.
func findListener() (int, error) {
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return -1, fmt.Errorf("find the listening socket: %w", err)
	}
	for _, e := range list {
		fd, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if on, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN); err == nil && on == 1 {
			return fd, nil
		}
	}
	return -1, nil
}

// filterInterface attaches a filter that keeps only packets of interface index.
// Connections that are accepted inherit it. Source: socket(7) SO_ATTACH_FILTER,
// linux/filter.h SKF_AD_IFINDEX.
func filterInterface(fd, index int) error {
	const adIfindex = 0xfffff000 + 8 // SKF_AD_OFF + SKF_AD_IFINDEX
	code := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: adIfindex},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jt: 0, Jf: 1, K: uint32(index)},
		{Code: unix.BPF_RET | unix.BPF_K, K: 0xffffffff}, // all of it
		{Code: unix.BPF_RET | unix.BPF_K, K: 0},          // nothing: drop
	}
	prog := unix.SockFprog{Len: uint16(len(code)), Filter: &code[0]}
	if err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &prog); err != nil {
		return fmt.Errorf("keep the target to the loopback interface: %w", err)
	}
	return nil
}
