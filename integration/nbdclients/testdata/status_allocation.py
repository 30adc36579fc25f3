# SPDX-License-Identifier: Apache-2.0
#
# BLOCK_STATUS of base:allocation tells what was written from what was not.
from common import *

h = connect(contexts=[ALLOCATION])
assert h.can_meta_context(ALLOCATION) and not h.can_meta_context(PATHS)
assert status(h, SIZE, 0) == {ALLOCATION: [(SIZE, HOLE | ZERO)]}
for at in (M, 4 * M):
    h.pwrite(pattern(M), at)
got = status(h, SIZE, 0)[ALLOCATION]
assert got == [(M, 3), (M, 0), (2 * M, 3), (M, 0), (SIZE - 5 * M, 3)], got
got = status(h, M, M + 512 * K)[ALLOCATION]
assert got == [(512 * K, 0), (512 * K, 3)], got
got = status(h, 512, 4 * M)[ALLOCATION]
assert got == [(512, 0)], got
h.shutdown()
