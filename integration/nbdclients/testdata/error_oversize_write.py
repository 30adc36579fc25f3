# SPDX-License-Identifier: Apache-2.0
#
# errors-server-oversize, WRITE: a payload of more than 32 MiB is not taken. The connection
# ends, as the document allows, nothing is written, and others go on.
from common import *

other = connect()
for n in (32 * M + 512, 33 * M, 64 * M):
    h = connect(strict=False)
    # The end is seen by the write or, when its last bytes went out before, by a reset.
    try:
        h.pwrite(b"x" * n, 0)
        raise AssertionError("%d bytes were taken" % n)
    except nbd.Error as e:
        assert e.errnum in (errno.ENOTCONN, errno.EPIPE, errno.ECONNRESET), e
    assert h.aio_is_dead() or h.aio_is_closed()
    assert other.pread(M, 0) == bytes(M)
other.shutdown()
