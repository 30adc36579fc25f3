# SPDX-License-Identifier: Apache-2.0
#
# READ with DF: one chunk, whatever the range looks like.
from common import *

h = connect()
assert h.can_df()
data = pattern(64 * K)
for at in (0, 128 * K, 512 * K):
    h.pwrite(data, at)
got, seen = chunks(h, M, 0)
assert len(seen) > 1, "without DF there is nothing to be seen: %s" % seen
whole, seen = chunks(h, M, 0, nbd.CMD_FLAG_DF)
assert whole == got
assert seen == [(0, M, nbd.READ_DATA)], seen
_, seen = chunks(h, 128 * K, 16 * M, nbd.CMD_FLAG_DF)
assert len(seen) == 1, seen
h.shutdown()
