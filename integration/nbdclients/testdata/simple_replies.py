# SPDX-License-Identifier: Apache-2.0
#
# Without STRUCTURED_REPLY: no chunks, no DF, no contexts, and all else works.
from common import *

h = connect(structured=False, contexts=[ALLOCATION])
assert not h.get_structured_replies_negotiated() and not h.can_df() and not h.can_meta_context(ALLOCATION)
data = pattern(64 * K)
h.pwrite(data, 0, nbd.CMD_FLAG_FUA)
h.zero(4 * K, 8 * K)
h.trim(4 * K, 16 * K)
h.cache(64 * K, 0)
h.flush()
want = data[:8 * K] + bytes(4 * K) + data[12 * K:16 * K] + bytes(4 * K) + data[20 * K:]
got, seen = chunks(h, 64 * K, 0)
assert got == want and seen == [(0, 64 * K, nbd.READ_DATA)], seen
h.shutdown()
