// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"time"

	"pathgate/integration/nbdclient"
)

// speaker is a client that reads in one dialect of the protocol, from within this
// process: other clients have no say in it. They take structured replies where they
// get them.
type speaker struct {
	dialect nbdclient.Dialect
	title   string
}

func (s speaker) name() string          { return s.title }
func (s speaker) can(c *contender) bool { return int(s.dialect) < c.dialects }

// A write is answered alike in all dialects.
func (speaker) does(j Job) bool { return !j.Write && j.vms() == 1 && j.connections() == 1 }

func (speaker) prepare(context.Context, *contender, Job) error { return nil }

func (s speaker) run(ctx context.Context, c *contender, j Job, seconds float64, seed uint64) (Sample, error) {
	raw, err := s.dial(ctx, c)
	if err != nil {
		return Sample{}, err
	}
	defer raw.Close()
	l := &reading{raw: raw, dialect: s.dialect, job: j, random: rand.New(rand.NewPCG(seed, 1)), buf: make([]byte, 512<<10)}
	start := time.Now()
	if err := l.run(start.Add(time.Duration(seconds * float64(time.Second)))); err != nil {
		return Sample{}, fmt.Errorf("%s: %w", s.title, err)
	}
	took := time.Since(start).Seconds()
	if want := l.ended * int64(j.BlockBytes); l.content != want {
		return Sample{}, fmt.Errorf("%s: %d bytes came of %d", s.title, l.content, want)
	}
	return Sample{IOs: l.ended, Seconds: took}, nil
}

func (s speaker) dial(ctx context.Context, c *contender) (*nbdclient.Raw, error) {
	raw, err := nbdclient.DialRaw(ctx, "unix:"+c.socket)
	if err != nil {
		return nil, err
	}
	if _, err = raw.Greet(); err == nil {
		if err = raw.Speak(s.dialect); err == nil {
			_, err = raw.Info(nbdclient.OptGo, c.export)
		}
	}
	if err != nil {
		raw.Close()
		return nil, fmt.Errorf("%s: %w", s.title, err)
	}
	return raw, nil
}

// reading is one run of a speaker.
type reading struct {
	raw     *nbdclient.Raw
	dialect nbdclient.Dialect
	job     Job
	random  *rand.Rand
	next    uint64 // offset of the next sequential read
	out     []byte // requests that are to be sent
	buf     []byte
	skip    int  // bytes of content that are to come
	last    bool // of their request
	left    int  // requests in flight
	ended   int64
	content int64 // bytes of it, counted
}

// run keeps as many requests in flight as the job says, until a time, and takes all
// replies.
func (l *reading) run(until time.Time) error {
	for range l.job.Depth {
		l.ask()
	}
	from, to := 0, 0 // what has come and was not taken
	for l.left > 0 {
		if len(l.out) > 0 {
			if err := l.raw.Send(l.out); err != nil {
				return err
			}
			l.out = l.out[:0]
		}
		if from > 0 {
			from, to = 0, copy(l.buf, l.buf[from:to])
		}
		n, err := l.raw.Conn.Read(l.buf[to:])
		if err != nil {
			return err
		}
		to += n
		more := time.Now().Before(until)
		for {
			taken, err := l.take(l.buf[from:to], more)
			if err != nil {
				return err
			}
			if taken == 0 {
				break
			}
			from += taken
		}
	}
	return nil
}

// ask appends a request.
func (l *reading) ask() {
	n := uint64(l.job.BlockBytes)
	at := l.next
	if l.job.Random {
		at = l.random.Uint64N(diskBytes/n) * n
	}
	l.next = (at + n) % diskBytes
	l.out = l.dialect.Append(l.out, &nbdclient.Asked{Cmd: nbdclient.CmdRead, Cookie: at, Offset: at, Length: n})
	l.left++
}

// take takes a piece of content or a header from b, and tells how long it is; 0: more
// has to come. With more it asks again for what has ended.
func (l *reading) take(b []byte, more bool) (int, error) {
	if l.skip > 0 {
		n := min(l.skip, len(b))
		l.skip -= n
		l.content += int64(n)
		if l.skip == 0 && l.last {
			l.left--
			l.ended++
			if more {
				l.ask()
			}
		}
		return n, nil
	}
	n, err := 0, error(nil)
	n, l.skip, l.last, err = parseReply(l.dialect, b, l.job.BlockBytes)
	return n, err
}

// parseReply reads the header in front of content in the answer to a READ of block
// bytes, which ends with that content if last. n is 0 when more has to come.
func parseReply(d nbdclient.Dialect, b []byte, block int) (n, content int, last bool, err error) {
	switch d {
	case nbdclient.Structured:
		n = 20 + 8
	case nbdclient.Extended:
		n = 32 + 8
	default:
		n = 16
	}
	if len(b) < n {
		return 0, 0, false, nil
	}
	magic := binary.BigEndian.Uint32(b)
	if d == nbdclient.Simple {
		if e := binary.BigEndian.Uint32(b[4:]); magic != nbdclient.MagicSimpleReply || e != 0 {
			return 0, 0, false, fmt.Errorf("magic %#x, error %d", magic, e)
		}
		return n, block, true, nil
	}
	want, length := nbdclient.MagicStructuredReply, uint64(binary.BigEndian.Uint32(b[16:]))
	if d == nbdclient.Extended {
		want, length = nbdclient.MagicExtendedReply, binary.BigEndian.Uint64(b[24:])
	}
	kind := nbdclient.ChunkType(binary.BigEndian.Uint16(b[6:]))
	if magic != uint32(want) || kind != nbdclient.ChunkData || length <= 8 || length-8 > uint64(block) {
		return 0, 0, false, fmt.Errorf("magic %#x, chunk of type %d with %d bytes", magic, kind, length)
	}
	return n, int(length) - 8, binary.BigEndian.Uint16(b[4:])&nbdclient.ChunkDone != 0, nil
}
