# SPDX-License-Identifier: Apache-2.0
#
# BLOCK_STATUS with REQ_ONE: one extent, no longer than what was asked for.
from common import *

h = connect(contexts=[ALLOCATION, PATHS])
h.pwrite(pattern(M), M)
for at, n, want in ((0, SIZE, (M, 3)), (M, 2 * M, (M, 0)), (M + 4 * K, 8 * K, (8 * K, 0)), (2 * M, 4 * M, (4 * M, 3))):
    got = status(h, n, at, nbd.CMD_FLAG_REQ_ONE)
    assert got == {ALLOCATION: [want], PATHS: [(n, 0)]}, (at, n, got)
h.shutdown()
