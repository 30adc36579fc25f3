// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"fmt"
	"os"
)

// ClientResize says what NBD clients may do to the size of a disk.
type ClientResize string

// With ClientResizeGrow they may have it grow (NBD_CMD_RESIZE).
const (
	ClientResizeOff  ClientResize = "off"
	ClientResizeGrow ClientResize = "grow"
)

// diskResize reads the keys about the growth of a disk.
func (d *decoder) diskResize(o object, key string, k *DiskConfig) {
	o.size("max-size", &k.MaxSize, false)
	enum(o, "client-resize", &k.ClientResize, ClientResizeOff, ClientResizeGrow)
	for _, name := range []string{"max-size", "client-resize"} {
		if (o.has("lun") || o.has("extents")) && o.has(name) {
			d.fault(joinKey(key, name), "is not used here",
				"belongs to file: the size of a disk on LUNs is that of its extents, or of the LUN, which its target makes grow")
		}
	}
}

// diskResize checks that what a disk says about its growth is possible.
func (v *validator) diskResize(d *DiskConfig, key string) {
	if d.File == "" {
		return
	}
	for _, name := range []string{"max-size", "client-resize"} {
		if d.ReadOnly && v.has(key+"."+name) {
			v.fault(key+"."+name, "is not used here", "a disk with read-only: true does not grow")
		}
	}
	if d.ClientResize == ClientResizeGrow && d.MaxSize == 0 && !v.has(key+".max-size") {
		v.fault(key+".client-resize", "has no bound", "max-size says how far clients may have the disk grow")
	}
	switch b := uint64(max(d.BlockSize, 512)); {
	case d.MaxSize == 0:
	case uint64(d.MaxSize)%b != 0:
		v.fault(key+".max-size", "does not fit", fmt.Sprintf("a multiple of the block size, %d bytes", b))
	case d.MaxSize < d.Size:
		v.fault(key+".max-size", "is less than size", "at least "+d.Size.String())
	}
}

// growingFiles finds block devices that are to grow, by os.Stat.
func (v *validator) growingFiles(stat func(string) (os.FileInfo, error)) {
	for i := range v.c.VMs {
		for j := range v.c.VMs[i].Disks {
			d := &v.c.VMs[i].Disks[j]
			if d.File == "" || d.MaxSize == 0 {
				continue
			}
			if st, err := stat(d.File); err == nil && st.Mode().Type() == os.ModeDevice {
				v.fault(fmt.Sprintf("vms[%d].disks[%d].max-size", i, j), "is not used here",
					d.File+" is a block device, whose size is not the gateway's; a regular file can grow")
			}
		}
	}
}
