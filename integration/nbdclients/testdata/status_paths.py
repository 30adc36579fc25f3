# SPDX-License-Identifier: Apache-2.0
#
# BLOCK_STATUS of pathgate:paths: a disk in a file is in no danger.
from common import *

h = connect(contexts=[PATHS])
assert h.can_meta_context(PATHS) and not h.can_meta_context(ALLOCATION)
assert status(h, SIZE, 0) == {PATHS: [(SIZE, 0)]}
assert status(h, 512, SIZE - 512) == {PATHS: [(512, 0)]}
h.shutdown()
