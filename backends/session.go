// SPDX-License-Identifier: Apache-2.0

package backends

import (
	"context"
	"fmt"
	"time"

	"pathgate/internal/buffer"
)

// Connector makes sessions to targets from one adapter. It is how the path
// manager reaches targets without knowing the protocol. Safe for concurrent use.
type Connector interface {
	// Discover asks the portal for the targets that it offers (SendTargets). A
	// target that names no portal is at the portal that was asked.
	Discover(ctx context.Context, portal string) ([]TargetPortal, error)

	// Connect starts a nexus: it logs in, and again after each loss, with
	// back-off and jitter, until Close. It returns at once; h is told the rest.
	Connect(p TargetPortal, h NexusHandler) Nexus
}

// TargetPortal is a place where a target can be reached.
type TargetPortal struct {
	Target   string // target name, such as an IQN
	Portal   string // "address:port"
	GroupTag uint16 // target portal group tag; 0 when not known before login
}

// Nexus is one initiator port logged in to one target portal: the session that
// all paths of one adapter to one portal share. All methods are safe for
// concurrent use, and none blocks but Close.
type Nexus interface {
	// Session gives the session on one LUN, the same one for the same LUN. It
	// may be asked for while the nexus is down.
	Session(lun uint16) Session

	// Relogin drops the present connection, if there is one, at once, and logs
	// in anew with the same initiator name and ISID over route. All that is
	// outstanding completes with Transport first. The nexus stays on that route
	// until the next Relogin; the zero Route is its own adapter and portal. The
	// outcome is told by Up, or by Down for each failed attempt: on a route
	// that is not its own it tries only once, with the shorter fencing timer.
	Relogin(route Route)

	// Logout asks the target to end the session, and logs in again after that, as
	// after a loss. What is outstanding may still end until the target answers, or has
	// not within the fencing timer; what is submitted meanwhile completes with Transport
	// and SentNone. Down tells the end. Nothing happens while the nexus is down.
	Logout()

	// Close logs out, with a deadline, ends what is outstanding ([Transport]) and
	// returns when nothing of the nexus runs any more. Twice is safe.
	Close(ctx context.Context) error
}

// Route is a way to a target other than a nexus's own: from another adapter
// (nil: its own), over another portal ("": its own) of the same portal group.
type Route struct {
	Connector Connector
	Portal    string
}

// Own tells whether the route is the nexus's own.
func (r Route) Own() bool { return r.Connector == nil && r.Portal == "" }

// NexusHandler is told what happens to a nexus. Its methods are called in
// order, on the nexus's goroutines, with no lock held; they must not block.
type NexusHandler interface {
	// Up: logged in. Every Session of the nexus serves Exec and TMF now, and
	// Submit once its geometry has been set again: identities may have changed.
	Up(b *Batch, n Nexus, l Login)
	// Down: the session is lost, or an attempt to log in failed. It is called
	// before the requests that it ended complete.
	Down(b *Batch, n Nexus, d Loss)
	// Async: the target sent an Async Message that is no loss.
	Async(b *Batch, n Nexus, a AsyncEvent)
	// UnitAttention: a command on s was answered with sense key 6. The command
	// itself completes with Busy.
	UnitAttention(b *Batch, s Session, sense Sense)
}

// Login describes a new session.
type Login struct {
	Generation uint64 // counts the logins of this nexus, from 1
	Route      Route
	GroupTag   uint16        // the target portal group that answered
	Took       time.Duration // from dialling to full feature phase
	// Moved is the portal where the target says that it is from now on, and where it
	// was found; "": it is where it was looked for, or elsewhere for a time only.
	Moved string
	// Keys are the negotiated values, for people: "HeaderDigest=CRC32C" ...
	Keys []string
}

// LossClass tells what broke.
type LossClass uint8

// Loss classes.
const (
	// LossConnect: no TCP connection, or the login was not answered.
	LossConnect LossClass = iota + 1
	// LossRefused: the target answered the login with a status that time may
	// heal (service unavailable, out of resources).
	LossRefused
	// LossDenied: the target answered the login with a status that needs a
	// person (authentication, authorisation, not found).
	LossDenied
	// LossReset: EOF, reset or a socket error while logged in.
	LossReset
	// LossSilent: no answer to a NOP, or to what TCP sent.
	LossSilent
	// LossProtocol: the target broke the protocol.
	LossProtocol
	// LossLogout: the target asked us to leave, or dropped us by Async Message.
	LossLogout
	// LossRelogin: Relogin was called.
	LossRelogin
	// LossClosed: Close was called.
	LossClosed
	// LossLocal: the adapter has no link or no address.
	LossLocal
)

var lossNames = [...]string{
	"", "connect failed", "login refused", "login denied",
	"connection reset", "no answer", "protocol error", "logout", "relogin", "closed", "adapter down",
}

// String gives the name as events show it.
func (c LossClass) String() string {
	if c == 0 || int(c) >= len(lossNames) {
		return fmt.Sprintf("loss(%d)", uint8(c))
	}
	return lossNames[c]
}

// Loss describes the end of a session, or a failed login.
type Loss struct {
	Class      LossClass
	Err        error  // names portal and cause
	Gone       bool   // the login was answered that there is no such target (any more)
	Generation uint64 // of the session that ended; 0 for a failed login
	Route      Route
	// Retry tells when the next attempt comes; 0 when there is none.
	Retry time.Duration
}

// AsyncKind is the event of an Async Message.
type AsyncKind uint8

// Async events that are no loss. Sense data comes as UnitAttention.
const (
	// AsyncLogout: the target asks for a logout; drain, then Logout.
	AsyncLogout AsyncKind = iota + 1
	// AsyncRenegotiate: the target wants other parameters; as AsyncLogout.
	AsyncRenegotiate
	// AsyncTasksEnded: tasks of LUN were ended by another initiator's reset.
	AsyncTasksEnded
)

// AsyncEvent is an Async Message.
type AsyncEvent struct {
	Kind   AsyncKind
	LUN    uint16
	Within time.Duration // for AsyncLogout: what the target allows; 0: not said
}

// Geometry is what Submit needs to know to turn bytes into blocks, and what the
// LUN was found to do.
type Geometry struct {
	LogicalBlock uint32 // bytes, power of two, at least 512
	Size         uint64 // bytes
	// FUA: the LUN honours the bit. Without it FUA is the caller's to make by a
	// Flush.
	FUA bool
	// Unmap, WriteSame: UNMAP and WRITE SAME(16) work; otherwise WriteZeroes is
	// carried out with plain writes of zeros, and Unmap is Unsupported.
	Unmap, WriteSame bool
	// UnmapSame: WRITE SAME(16) takes the UNMAP bit, and unmapped blocks read as
	// zeros; so WriteZeroes need not allocate.
	UnmapSame bool
	// MaxBlocks is the most blocks of one READ or WRITE; 0: no limit.
	MaxBlocks uint32
}

// Session is one nexus on one LUN. All methods are safe for concurrent use and
// none blocks. What completes, completes through the batch rules of Device.
type Session interface {
	Nexus() Nexus
	LUN() uint16

	// SetGeometry allows Submit, for this login. Each Down takes it back.
	SetGeometry(generation uint64, g Geometry)

	// Submit sends the requests: Read, Write, Flush, Unmap, WriteZeroes,
	// CompareAndWrite, Verify, Cache, BlockStatus. Requests that it does not
	// send (down, no geometry) complete with Transport and SentNone. More than
	// the target's window are kept in order and sent as it opens.
	Submit(b *Batch, reqs []*Request)

	// Load tells the requests that are with this session and the room that the
	// target's command window leaves.
	Load() (outstanding, room int)

	// Exec sends any CDB.
	Exec(b *Batch, c *Command)

	// TMF sends a task management function, ahead of data.
	TMF(b *Batch, t *TaskManagement)
}

// Command is a CDB with its data, for what is no data operation: INQUIRY, REPORT
// TARGET PORT GROUPS, PERSISTENT RESERVE, checkers.
type Command struct {
	CDB [16]byte
	// Out is sent when not empty; borrowed until Done.
	Out buffer.Vec
	// MaxIn is the number of bytes accepted; 0 when the command reads nothing.
	MaxIn int
	// Timeout ends the wait: the command then completes with Transport and
	// SentSome, and its late answer is ignored. 0: the session's default.
	Timeout time.Duration
	// Done is called once, as Completer.Complete is.
	Done func(b *Batch, c *Command)

	// Set at completion.
	Result Result
	In     buffer.Vec // bytes that came, with Class OK; the caller releases it
	Raw    []byte     // sense data as it came, at most 252 bytes
}

// TMFunction is a task management function of SAM.
type TMFunction uint8

// Functions that we use; HAZARDS section 4 rule 10 tells why no others.
const (
	AbortTask TMFunction = iota + 1
	LUNReset
	TargetReset
)

// String gives the name as in SAM.
func (f TMFunction) String() string {
	switch f {
	case AbortTask:
		return "ABORT TASK"
	case LUNReset:
		return "LOGICAL UNIT RESET"
	case TargetReset:
		return "TARGET RESET"
	}
	return fmt.Sprintf("tmf(%d)", uint8(f))
}

// TMResponse is how a task management function ended.
type TMResponse uint8

// Responses.
const (
	// TMComplete: answered 0, function complete.
	TMComplete TMResponse = iota + 1
	// TMNoTask: answered 1, the task does not exist (any more).
	TMNoTask
	// TMNoLUN: answered 2.
	TMNoLUN
	// TMRefused: answered anything else: not supported, rejected.
	TMRefused
	// TMDataOwed: not sent, because the target still waits for data of the
	// task; only a session loss ends that (HAZARDS section 4 rule 8).
	TMDataOwed
	// TMTimeout: no answer in time.
	TMTimeout
	// TMLost: the session was lost, or was not up.
	TMLost
)

var tmResponseNames = [...]string{
	"", "complete", "task does not exist", "LUN does not exist",
	"refused", "data owed", "timed out", "session lost",
}

// String gives the name for people.
func (r TMResponse) String() string {
	if r == 0 || int(r) >= len(tmResponseNames) {
		return fmt.Sprintf("response(%d)", uint8(r))
	}
	return tmResponseNames[r]
}

// TaskManagement is one task management function.
type TaskManagement struct {
	Function TMFunction
	// Task is what AbortTask aborts: a request of this session that its owner
	// keeps from being used again until Done. When the target has confirmed
	// (TMComplete, TMNoTask), Task completes with Aborted before Done, unless its
	// own answer came first. On any other response it stays outstanding until
	// the session ends.
	Task *Request
	// Timeout ends the wait; required.
	Timeout time.Duration
	// Done is called once, as Completer.Complete is.
	Done func(b *Batch, t *TaskManagement)

	// Response is set at completion.
	Response TMResponse
}
