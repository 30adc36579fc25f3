# SPDX-License-Identifier: Apache-2.0
#
# WRITE_ZEROES with NO_HOLE keeps the space; without, it need not.
from common import *

h = connect()
h.pwrite(pattern(4 * M), 0)
h.flush()
full = allocated()
for flags in (nbd.CMD_FLAG_NO_HOLE, nbd.CMD_FLAG_NO_HOLE | nbd.CMD_FLAG_FUA):
    h.zero(2 * M, M, flags)
    h.flush()
    assert allocated() >= 4 * M, (full, allocated())
    assert h.pread(2 * M, M) == bytes(2 * M)
h.zero(M, 16 * M, nbd.CMD_FLAG_NO_HOLE)  # space that there was not
h.flush()
assert allocated() >= 5 * M, allocated()
h.zero(4 * M, 0)
h.flush()
assert allocated() < 4 * M, allocated()
h.shutdown()
