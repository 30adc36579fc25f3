// SPDX-License-Identifier: Apache-2.0

package share

// entity is a flow or a group where a set orders it.
type entity struct {
	vt     VirtualTime
	weight uint32 // in force; 0: not in share order
	inv    uint64 // 2^32/weight
	tie    uint64 // higher priority first, flows before groups, then lower number
	pos    [sets]int32
	flow   *flow // one of these two
	group  *group
	level  *level // that it is ordered in
}

// level is a set of entities in share order: the LUN's, or a group's.
type level struct {
	ready heap
	v     VirtualTime // of the entity last picked in share order, before it was charged
}

// The sets that an entity may be in, by place in entity.pos.
const (
	inReady = iota
	inDue
	inTimer
	sets
)

// slot is one place of a heap: the keys are here, so that comparing touches one
// cache line.
type slot struct {
	key uint64
	tie uint64
	e   *entity
}

// heap is a 4-ary heap of entities by (key, tie). Keys are compared by signed
// difference: they are virtual times, which wrap, or instants. Invariant:
// slots[i].e.pos[set] == i+1; 0 is the place of an entity outside.
type heap struct {
	slots []slot
	set   int
}

func (s *slot) before(t *slot) bool {
	d := int64(s.key - t.key)
	return d < 0 || d == 0 && s.tie < t.tie
}

func (h *heap) has(e *entity) bool { return e.pos[h.set] != 0 }

func (h *heap) len() int { return len(h.slots) }

// top gives the first entity, nil of an empty heap.
func (h *heap) top() *entity {
	if len(h.slots) == 0 {
		return nil
	}
	return h.slots[0].e
}

// due tells whether the first key is not after now.
func (h *heap) due(now Instant) bool {
	return len(h.slots) > 0 && int64(h.slots[0].key-uint64(now)) <= 0
}

// first gives the first key as an instant; the heap is not empty.
func (h *heap) first() Instant { return Instant(h.slots[0].key) }

func (h *heap) keyOf(e *entity) uint64 { return h.slots[e.pos[h.set]-1].key }

// put adds e with key, or moves it.
func (h *heap) put(e *entity, key uint64) {
	i := int(e.pos[h.set]) - 1
	if i < 0 {
		h.slots = append(h.slots, slot{key, e.tie, e})
		h.up(len(h.slots) - 1)
		return
	}
	s := &h.slots[i]
	if s.key == key && s.tie == e.tie {
		return
	}
	old := *s
	s.key, s.tie = key, e.tie
	if s.before(&old) {
		h.up(i)
	} else {
		h.down(i)
	}
}

// remove takes e out, if it is in.
func (h *heap) remove(e *entity) {
	i := int(e.pos[h.set]) - 1
	if i < 0 {
		return
	}
	e.pos[h.set] = 0
	n := len(h.slots) - 1
	last := h.slots[n]
	h.slots[n] = slot{}
	h.slots = h.slots[:n]
	if i == n {
		return
	}
	gone := h.slots[i]
	h.slots[i] = last
	if last.before(&gone) {
		h.up(i)
	} else {
		h.down(i)
	}
}

func (h *heap) up(i int) {
	s := h.slots[i]
	for i > 0 {
		p := (i - 1) / 4
		if !s.before(&h.slots[p]) {
			break
		}
		h.slots[i] = h.slots[p]
		h.slots[i].e.pos[h.set] = int32(i + 1)
		i = p
	}
	h.slots[i] = s
	s.e.pos[h.set] = int32(i + 1)
}

func (h *heap) down(i int) {
	s := h.slots[i]
	n := len(h.slots)
	for {
		c := 4*i + 1
		if c >= n {
			break
		}
		for j, end := c+1, min(c+4, n); j < end; j++ {
			if h.slots[j].before(&h.slots[c]) {
				c = j
			}
		}
		if !h.slots[c].before(&s) {
			break
		}
		h.slots[i] = h.slots[c]
		h.slots[i].e.pos[h.set] = int32(i + 1)
		i = c
	}
	h.slots[i] = s
	s.e.pos[h.set] = int32(i + 1)
}
