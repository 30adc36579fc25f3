# SPDX-License-Identifier: Apache-2.0
#
# What the scripts have in common. The environment tells what the gateway offers.
import errno
import os

import nbd

SOCKET = os.environ["SOCKET"]
EXPORT = os.environ["EXPORT"]  # a disk of the script's own: 64 MiB, all holes
FILE = os.environ["FILE"]      # the file that it is in
SIZE = 64 << 20
K, M = 1 << 10, 1 << 20
ALLOCATION, PATHS = "base:allocation", "pathgate:paths"
HOLE, ZERO = 1, 2


def connect(export=EXPORT, structured=True, contexts=(), opt_mode=False, strict=True, handshake=None):
    """A connection; with opt_mode it is still in the handshake."""
    h = nbd.NBD()
    h.set_export_name(export)
    h.set_request_structured_replies(structured)
    h.set_opt_mode(opt_mode)
    for name in contexts:
        h.add_meta_context(name)
    if not strict:
        h.set_strict_mode(0)
    if handshake is not None:
        h.set_handshake_flags(handshake)
    h.connect_unix(SOCKET)
    return h


def refused(number, call, *args, **kwargs):
    """The call fails with this errno."""
    try:
        call(*args, **kwargs)
    except nbd.Error as e:
        assert e.errnum == number, "%s, not %s" % (e, errno.errorcode[number])
        return e
    raise AssertionError("%r was not refused" % (args,))


def alive(h):
    """The connection still does what it is asked for."""
    assert h.aio_is_ready()
    assert len(h.pread(512, h.get_size() - 512)) == 512


def pattern(n, seed=1):
    """n bytes no 512 of which are zeros or like others nearby."""
    out = bytearray()
    while len(out) < n:
        out += (len(out) + seed * 7919 + 1).to_bytes(8, "big") * 64
    return out[:n]


def status(h, count, offset, flags=0):
    """The extents of each context as a list of (length, flags)."""
    seen = {}

    def extents(context, at, entries, err):
        assert at == offset and err.value == 0, (at, err.value)
        assert context not in seen, "%s came twice" % context
        seen[context] = list(zip(entries[::2], entries[1::2]))

    h.block_status(count, offset, extents, flags)
    return seen


def chunks(h, count, offset, flags=0):
    """What is read, and the chunks as (offset, length, kind) in their order."""
    seen = []

    def chunk(data, at, kind, err):
        assert err.value == 0
        seen.append((at, len(data), kind))

    data = h.pread_structured(count, offset, chunk, flags)
    return data, sorted(seen)


def allocated():
    """How many bytes of the file system the disk takes."""
    return os.stat(FILE).st_blocks * 512
