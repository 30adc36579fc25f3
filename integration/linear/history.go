// SPDX-License-Identifier: Apache-2.0

package linear

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"sync"
)

const (
	// SectorSize is the size of a register, in bytes.
	SectorSize = 512
	// maxSectors is how many registers there may be: their numbers are in the words.
	maxSectors = 1 << 16

	never = math.MaxInt64
)

// History is what clients did and saw. Safe for concurrent use. Make it with
// NewHistory; the registers begin with the value 0.
type History struct {
	mu     sync.Mutex
	now    int64 // counts begins and ends
	writes []*Write
	reads  []observation
	open   []int      // writes in flight, by sector
	closed [][]*Write // by sector, in order of their end
	faults []string   // found without a search
	races  int
	asked  int // requests that ended
}

// Write is one write request. Its fields are the history's.
type Write struct {
	client       int
	id           uint64
	first, count int
	call, end    int64 // end: never while there is no answer
	failed       bool
}

// Read is one read request.
type Read struct {
	client       int
	first, count int
	call         int64
}

// observation is one read of one register.
type observation struct {
	client, sector int
	id             uint64
	call, end      int64
}

// NewHistory makes one of that many registers, at most 65536.
func NewHistory(sectors int) *History {
	if sectors < 1 || sectors > maxSectors {
		panic(fmt.Sprintf("linear: %d sectors", sectors))
	}
	return &History{open: make([]int, sectors), closed: make([][]*Write, sectors)}
}

func word(id uint64, sector int) uint64 { return id<<16 | uint64(sector) }

// BeginWrite records a write of count sectors from first, and gives the bytes to
// be written. It has to be sent after that.
func (h *History) BeginWrite(client, first, count int) (*Write, []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.now++
	w := &Write{client: client, id: uint64(len(h.writes)) + 1, first: first, count: count, call: h.now, end: never}
	h.writes = append(h.writes, w)
	data := make([]byte, 0, count*SectorSize)
	for s := first; s < first+count; s++ {
		h.open[s]++
		for range SectorSize / 8 {
			data = binary.LittleEndian.AppendUint64(data, word(w.id, s))
		}
	}
	return w, data
}

// EndWrite records its answer.
func (h *History) EndWrite(w *Write, failed bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.now++
	h.asked++
	w.end, w.failed = h.now, failed
	for s := w.first; s < w.first+w.count; s++ {
		h.closed[s] = append(h.closed[s], w)
		if !failed { // a failed one may be on its way for a while
			h.open[s]--
		}
	}
}

// BeginRead records a read of count sectors from first.
func (h *History) BeginRead(client, first, count int) *Read {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.now++
	return &Read{client: client, first: first, count: count, call: h.now}
}

// EndRead records what it returned; data is nil if it failed.
func (h *History) EndRead(r *Read, data []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.now++
	h.asked++
	for i := range r.count {
		if data != nil {
			h.seeLocked(r, r.first+i, data[i*SectorSize:][:SectorSize])
		}
	}
}

// seeLocked takes apart what a read found in one sector.
func (h *History) seeLocked(r *Read, sector int, b []byte) {
	var ids []uint64
	for ; len(b) > 0; b = b[8:] {
		v := binary.LittleEndian.Uint64(b)
		if v == 0 {
			v = word(0, sector) // what was there before
		}
		id, at := v>>16, int(v&0xffff)
		switch {
		case id > uint64(len(h.writes)):
			h.faults = append(h.faults, fmt.Sprintf("sector %d holds %#x, which nobody wrote", sector, v))
			return
		case at != sector:
			h.faults = append(h.faults, fmt.Sprintf("sector %d holds what was written to sector %d", sector, at))
			return
		}
		if !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	if len(ids) > 1 {
		if !h.racedLocked(r, sector) {
			h.faults = append(h.faults, fmt.Sprintf("sector %d is torn: it holds parts of the writes %v", sector, ids))
			return
		}
		h.races++
	}
	for _, id := range ids {
		h.reads = append(h.reads, observation{r.client, sector, id, r.call, h.now})
	}
}

// racedLocked tells whether a write to the sector was in flight at some time of r,
// or might still be.
func (h *History) racedLocked(r *Read, sector int) bool {
	if h.open[sector] > 0 {
		return true
	}
	list := h.closed[sector]
	return len(list) > 0 && list[len(list)-1].end > r.call
}
