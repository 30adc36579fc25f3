// SPDX-License-Identifier: Apache-2.0

package shares

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"pathgate/integration/nbdclient"
)

const (
	replyHeader = 16
	// connectLimit bounds one connection's handshake.
	connectLimit = time.Minute
	// askedAhead bounds what an open loop has outstanding, if Job.Depth does not.
	askedAhead = 256
)

// Job is what a client does. All commands of a job have one length.
type Job struct {
	Addr, Export string
	Connections  int // 0: 1
	// Depth is how many commands each connection keeps outstanding: a closed loop.
	// With a Rate it is the most that it has outstanding, 0: 256; what would be more
	// is not asked for.
	Depth int
	// Rate is how many commands per second it asks for, over all connections: an
	// open loop. 0: as many as are answered.
	Rate float64
	// Bytes is the length of a command, 0: 4096. Its cost is ServiceCost's.
	Bytes uint32
	Write bool
	// Sequential commands follow each other in [From, From+Size); others begin
	// anywhere in it. Size 0: all of the export.
	Sequential bool
	From, Size uint64
	Seed       uint64
}

// Load is a Job that runs. Safe for concurrent use. Make it with Start.
type Load struct {
	job   Job
	clock *Clock
	cost  float64
	stop  context.CancelFunc // lets the connections run dry
	ends  sync.WaitGroup

	mu      sync.Mutex
	done    []time.Duration // of commands, in order
	skipped int             // not asked for, since too much was outstanding
	errs    []error
	links   []*link
}

// Start connects and begins. Times are those of clock.
func Start(ctx context.Context, clock *Clock, job Job) (*Load, error) {
	job.Connections = max(job.Connections, 1)
	if job.Bytes == 0 {
		job.Bytes = 4096
	}
	if job.Rate > 0 && job.Depth == 0 {
		job.Depth = askedAhead
	}
	l := &Load{job: job, clock: clock, cost: float64((job.Bytes + 4095) / 4096)}
	running, stop := context.WithCancel(context.Background())
	l.stop = stop
	for i := range job.Connections {
		k, err := l.connect(ctx, i)
		if err != nil {
			for _, k := range l.links {
				k.raw.Close()
			}
			stop()
			return nil, err
		}
		l.links = append(l.links, k)
	}
	for _, k := range l.links {
		context.AfterFunc(running, k.retire)
		l.ends.Go(func() { l.end(k.read()) })
		if job.Rate > 0 {
			l.ends.Go(func() { l.end(k.ask(running)) })
		} else {
			l.end(k.begin())
		}
	}
	return l, nil
}

func (l *Load) connect(ctx context.Context, n int) (*link, error) {
	ctx, cancel := context.WithTimeout(ctx, connectLimit)
	defer cancel()
	raw, err := nbdclient.DialRaw(ctx, l.job.Addr)
	if err != nil {
		return nil, err
	}
	k := &link{load: l, raw: raw, pick: rand.New(rand.NewPCG(l.job.Seed, uint64(n))), over: make(chan struct{})}
	if _, err = raw.Greet(); err == nil {
		var e nbdclient.Export
		e, err = raw.Info(nbdclient.OptGo, l.job.Export)
		k.size = e.Size
	}
	if err == nil {
		err = raw.Conn.SetDeadline(time.Time{})
	}
	if err == nil && l.job.From+uint64(l.job.Bytes) > k.size {
		err = fmt.Errorf("it has only %d bytes", k.size)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("export %s: %w", l.job.Export, err), raw.Close())
	}
	if l.job.Size > 0 {
		k.size = min(k.size, l.job.From+l.job.Size)
	}
	return k, nil
}

// Stop asks for nothing more, waits for what is outstanding, and gives every error
// that there was.
func (l *Load) Stop() error {
	l.stop()
	l.ends.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	return errors.Join(l.errs...)
}

// Abandon ends the connections at once.
func (l *Load) Abandon() {
	l.stop()
	for _, k := range l.links {
		k.raw.Close()
	}
	l.ends.Wait()
}

// Done is how many commands were answered between from and to.
func (l *Load) Done(from, to time.Duration) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	a, _ := slices.BinarySearch(l.done, from)
	b, _ := slices.BinarySearch(l.done, to)
	return b - a
}

// Rate is how many units per second it got between from and to.
func (l *Load) Rate(from, to time.Duration) float64 {
	return float64(l.Done(from, to)) * l.cost / (to - from).Seconds()
}

// Pace is how many units per second it got between its first answer after from and
// its last before to: for few of them more exact than Rate. 0: fewer than two.
func (l *Load) Pace(from, to time.Duration) float64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	a, _ := slices.BinarySearch(l.done, from)
	b, _ := slices.BinarySearch(l.done, to)
	if b-a < 2 {
		return 0
	}
	return float64(b-a-1) * l.cost / (l.done[b-1] - l.done[a]).Seconds()
}

// Gap is the longest time without an answer between from and to.
func (l *Load) Gap(from, to time.Duration) (longest time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	last := from
	for _, d := range l.done {
		if d > from && d < to {
			longest, last = max(longest, d-last), d
		}
	}
	return max(longest, to-last)
}

// Last is when the newest answer came.
func (l *Load) Last() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.done) == 0 {
		return 0
	}
	return l.done[len(l.done)-1]
}

// Skipped is how many commands an open loop did not ask for.
func (l *Load) Skipped() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.skipped
}

func (l *Load) answered(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.clock.Now() // under the lock: so done is in order
	for range n {
		l.done = append(l.done, now)
	}
}

func (l *Load) end(err error) {
	if err != nil {
		l.mu.Lock()
		l.errs = append(l.errs, fmt.Errorf("%s: %w", l.job.Export, err))
		l.mu.Unlock()
	}
}

// link is one connection of a Load. The reader sends what a closed loop asks next;
// all that an open loop asks is sent by its asker.
type link struct {
	load *Load
	raw  *nbdclient.Raw
	size uint64 // end of the range
	over chan struct{}

	mu          sync.Mutex // guards what follows, and sending
	pick        *rand.Rand
	next        uint64 // where a sequential one goes on
	cookie      uint64
	outstanding int
	retired     bool // nothing more is asked for
	closed      bool
	out         []byte
}

// begin sends the first commands of a closed loop.
func (k *link) begin() error { return k.send(k.load.job.Depth) }

// send asks for n commands more, unless it is retired.
func (k *link) send(n int) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.retired {
		if k.outstanding == 0 && !k.closed {
			k.closed = true
			return k.raw.Close() // the reader ends
		}
		return nil
	}
	j := &k.load.job
	k.out = k.out[:0]
	for range n {
		r := nbdclient.Request{Cmd: nbdclient.CmdRead, Cookie: k.cookie, Offset: k.where(), Length: j.Bytes}
		if j.Write {
			r.Cmd = nbdclient.CmdWrite
		}
		k.out = r.Append(k.out)
		if j.Write {
			k.out = append(k.out, make([]byte, j.Bytes)...)
		}
		k.cookie++
	}
	k.outstanding += n
	if n == 0 {
		return nil
	}
	return k.raw.Send(k.out)
}

// where is the offset of the next command.
func (k *link) where() uint64 {
	j := &k.load.job
	blocks := (k.size - j.From) / uint64(j.Bytes)
	if j.Sequential {
		k.next++
		return j.From + (k.next-1)%blocks*uint64(j.Bytes)
	}
	return j.From + k.pick.Uint64N(blocks)*uint64(j.Bytes)
}

// retire has it end when what is outstanding has been answered.
func (k *link) retire() {
	k.mu.Lock()
	k.retired = true
	k.mu.Unlock()
	_ = k.send(0) // closes, if nothing is
}

// read takes answers until the connection ends. A closed loop asks again for each,
// once no further answer is at hand.
func (k *link) read() error {
	defer close(k.over)
	in := bufio.NewReaderSize(k.raw.Conn, 16<<10)
	var h [replyHeader]byte
	for n := 0; ; {
		if _, err := io.ReadFull(in, h[:]); err != nil {
			k.mu.Lock()
			defer k.mu.Unlock()
			if k.retired {
				return nil
			}
			return fmt.Errorf("connection lost with %d outstanding: %w", k.outstanding, err)
		}
		if err := k.check(in, h[:]); err != nil {
			return errors.Join(err, k.raw.Close())
		}
		if n++; in.Buffered() >= replyHeader {
			continue
		}
		k.load.answered(n)
		k.mu.Lock()
		k.outstanding -= n
		k.mu.Unlock()
		if k.load.job.Rate > 0 {
			n = 0
		}
		if err := k.send(n); err != nil {
			return err
		}
		n = 0
	}
}

// check looks at one answer and takes its data.
func (k *link) check(in *bufio.Reader, h []byte) error {
	if m := binary.BigEndian.Uint32(h); m != nbdclient.MagicSimpleReply {
		return fmt.Errorf("reply with magic %#x", m)
	}
	if e := nbdclient.Errno(binary.BigEndian.Uint32(h[4:])); e != 0 {
		return e
	}
	if k.load.job.Write {
		return nil
	}
	_, err := in.Discard(int(k.load.job.Bytes))
	return err
}

// ask sends what an open loop asks for, by the clock: what came late is asked for at
// once, so that the rate is kept over a long time.
func (k *link) ask(running context.Context) error {
	j := &k.load.job
	rate := j.Rate / float64(j.Connections)
	begin := k.load.clock.Now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for asked := 0; ; {
		select {
		case <-timer.C:
		case <-running.Done():
			return nil
		case <-k.over:
			return nil
		}
		owed := int((k.load.clock.Now()-begin).Seconds()*rate) + 1 - asked
		k.mu.Lock()
		room := j.Depth - k.outstanding
		k.mu.Unlock()
		if n := min(owed, room); n > 0 {
			if err := k.send(n); err != nil {
				return err
			}
		}
		if owed > room {
			k.load.mu.Lock()
			k.load.skipped += owed - max(room, 0)
			k.load.mu.Unlock()
		}
		asked += owed
		due := time.Duration(float64(asked) / rate * float64(time.Second))
		timer.Reset(begin + due - k.load.clock.Now())
	}
}
