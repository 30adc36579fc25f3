// SPDX-License-Identifier: Apache-2.0

package stamp

import (
	"errors"
	"fmt"
	"io"
)

// Scan is what can be said of a disk without a journal.
type Scan struct {
	Sectors int64       `json:"sectors"`
	Stamped int64       `json:"stamped"` // whole stamps at their own LBA, of any run
	Other   int64       `json:"other"`   // no stamps
	List    []Violation `json:"list"`    // Torn and Misdirected; all of them
	Runs    int         `json:"runs"`    // runs that the stamps come from
}

// ScanDisk reads a disk to its end and looks at each sector by itself.
func ScanDisk(disk io.Reader) (Scan, error) {
	var s Scan
	runs := make(map[uint64]bool)
	buf := make([]byte, 1<<20)
	for {
		n, err := io.ReadFull(disk, buf)
		for b := buf[:n/SectorSize*SectorSize]; len(b) > 0; b = b[SectorSize:] {
			lba := uint64(s.Sectors)
			s.Sectors++
			switch st, err := parse(b, 0); {
			case err == errNoStamp:
				s.Other++
			case err == errTorn:
				s.List = append(s.List, Violation{Kind: Torn, LBA: lba, Found: describe(st, err)})
			case st.LBA != lba:
				s.List = append(s.List, Violation{Kind: Misdirected, LBA: lba, Found: describe(st, nil)})
			default:
				s.Stamped++
				runs[st.Run] = true
			}
		}
		s.Runs = len(runs)
		if err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) {
			return s, nil
		}
		if err != nil {
			return s, fmt.Errorf("scan the disk: %w", err)
		}
	}
}
