# SPDX-License-Identifier: Apache-2.0
#
# A read-only disk: told so, read, flushed, mapped.
from common import *

h = connect(export="vm1/ro", contexts=[ALLOCATION])
assert h.is_read_only() and not h.can_trim() and not h.can_zero() and not h.can_fast_zero()
assert h.pread(M, 0) == b"r" * M
assert sum(n for n, _ in status(h, 8 * M, 0)[ALLOCATION]) == 8 * M
h.cache(M, 0)
h.flush()
h.shutdown()
