# SPDX-License-Identifier: Apache-2.0
#
# FLUSH, after writes, without any, and with writes of another connection before it.
from common import *

for structured in (True, False):
    h, other = connect(structured=structured), connect(structured=structured)
    assert h.can_flush() and h.can_multi_conn()
    h.flush()
    other.pwrite(pattern(4 * K), 0)
    h.flush()
    assert h.pread(4 * K, 0) == pattern(4 * K)
    h.shutdown()
    other.shutdown()
