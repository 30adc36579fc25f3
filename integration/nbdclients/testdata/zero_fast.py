# SPDX-License-Identifier: Apache-2.0
#
# WRITE_ZEROES with FAST_ZERO: done, or ENOTSUP and nothing is changed.
from common import *

h = connect()
assert h.can_fast_zero()
data = pattern(2 * M)
for flags in (0, nbd.CMD_FLAG_NO_HOLE, nbd.CMD_FLAG_FUA):
    h.pwrite(data, 0)
    try:
        h.zero(M, 0, nbd.CMD_FLAG_FAST_ZERO | flags)
        want = bytes(M)
    except nbd.Error as e:
        # Holes are fast on every file system that has them, and this one has.
        assert e.errnum == errno.ENOTSUP and flags == nbd.CMD_FLAG_NO_HOLE, (e, flags)
        want = data[:M]
    assert h.pread(M, 0) == want
    assert h.pread(M, M) == data[M:]
h.shutdown()
