// SPDX-License-Identifier: Apache-2.0

package nbd

import (
	"github.com/pojntfx/go-nbd/pkg/protocol"

	"pathgate/backends"
)

// errno is the error field of a reply (NBD proto.md "Error values"). 0 is
// success.
type errno uint32

const (
	errPerm     errno = errno(protocol.TRANSMISSION_ERROR_EPERM)
	errIO       errno = 5
	errInval    errno = errno(protocol.TRANSMISSION_ERROR_EINVAL)
	errNoSpace  errno = 28
	errOverflow errno = 75
	errNotSup   errno = 95
	errShutdown errno = 108
)

// refusal is why a request was not done; the zero refusal: it was.
type refusal struct {
	e    errno
	text string // for people, at most maxReason bytes
}

// refusalOf is errnoOf with the name of the class.
func refusalOf(r *backends.Request, class backends.Class, stopping bool) refusal {
	e := errnoOf(r, class, stopping)
	if e == 0 {
		return refusal{}
	}
	return refusal{e, class.String()}
}

// refusedShort is that of a read that gave less than was asked for (promise P8).
var refusedShort = refusal{errIO, "short read"}

// errnoOf gives the error of a request that ended with class. stopping tells
// that the export or the server is being stopped: what that aborts is answered
// with ESHUTDOWN, while an abort by someone else (a reset of the disk) is EIO.
func errnoOf(r *backends.Request, class backends.Class, stopping bool) errno {
	switch class {
	case backends.OK:
		return 0
	case backends.IllegalRequest:
		return errInval
	case backends.DataProtect:
		return errPerm
	case backends.NoSpace:
		return errNoSpace
	case backends.Unsupported:
		return unsupported(r)
	case backends.Aborted:
		if stopping {
			return errShutdown
		}
		return errIO
	case backends.Transport, backends.Busy, backends.Medium, backends.Miscompare,
		backends.ReservationConflict, backends.NoPath:
		return errIO
	default:
		return errIO
	}
}

// unsupported gives the error of an operation that the device does not do.
// ENOTSUP is for fast zeroing only (NBD proto.md "Error values"); TRIM and CACHE
// are hints that may be ignored.
func unsupported(r *backends.Request) errno {
	switch {
	case r.Op == backends.WriteZeroes && r.FastZero:
		return errNotSup
	case r.Op == backends.Unmap, r.Op == backends.Cache:
		return 0
	default:
		return errInval
	}
}
