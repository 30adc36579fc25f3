# SPDX-License-Identifier: Apache-2.0
#
# pathgate:paths of a LUN whose target dies: no danger at first, no path at the end, and
# nothing in between but missing paths. It is told without the target being asked.
import time

from common import *

h = connect(contexts=[PATHS])
size = h.get_size()
assert status(h, size, 0) == {PATHS: [(size, 0)]}
print("reading", flush=True)
end = time.monotonic() + 90
while True:
    got = status(h, size, 0)[PATHS]
    if got == [(size, 3)]:
        break
    assert got in ([(size, 0)], [(size, 1)]), got
    assert time.monotonic() < end, got
    time.sleep(0.02)
assert status(h, 64 * K, M, nbd.CMD_FLAG_REQ_ONE) == {PATHS: [(64 * K, 3)]}
h.shutdown()
