# SPDX-License-Identifier: Apache-2.0
#
# CACHE: a hint that changes nothing, of any length.
from common import *

for structured in (True, False):
    h = connect(structured=structured)
    assert h.can_cache()
    data = pattern(M)
    h.pwrite(data, 0)
    h.cache(M, 0)
    h.cache(SIZE, 0)
    h.cache(512, SIZE - 512)
    assert h.pread(M, 0) == data
    h.shutdown()
