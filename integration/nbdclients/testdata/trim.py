# SPDX-License-Identifier: Apache-2.0
#
# TRIM gives the space back; FUA goes with it; what is beside the range stays.
from common import *

h = connect(contexts=[ALLOCATION])
assert h.can_trim()
for flags in (0, nbd.CMD_FLAG_FUA):
    data = pattern(2 * M)
    h.pwrite(data, 0)
    h.flush()
    full = allocated()
    assert full >= 2 * M, full
    h.trim(M, 512 * K, flags)
    h.flush()
    assert allocated() <= full - M + 64 * K, (full, allocated())  # the file system may need more for its lists
    assert h.pread(2 * M, 0) == data[:512 * K] + bytes(M) + data[1536 * K:]
    got = status(h, 2 * M, 0)[ALLOCATION]
    assert got == [(512 * K, 0), (M, HOLE | ZERO), (512 * K, 0)], got
h.trim(SIZE, 0)
h.flush()
assert status(h, SIZE, 0)[ALLOCATION] == [(SIZE, HOLE | ZERO)]
h.shutdown()
