# SPDX-License-Identifier: Apache-2.0
#
# BLOCK_STATUS answers for each context that was selected.
from common import *

h = connect(contexts=[PATHS, ALLOCATION, "x-other:thing"])
assert not h.can_meta_context("x-other:thing")
h.pwrite(pattern(M), 0)
got = status(h, 2 * M, 0)
assert got == {ALLOCATION: [(M, 0), (M, 3)], PATHS: [(2 * M, 0)]}, got
h.shutdown()
