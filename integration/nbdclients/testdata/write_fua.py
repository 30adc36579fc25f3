# SPDX-License-Identifier: Apache-2.0
#
# WRITE with FUA.
from common import *

h = connect()
assert h.can_fua()
data = pattern(64 * K)
h.pwrite(data, 4 * M, nbd.CMD_FLAG_FUA)
assert h.pread(64 * K, 4 * M) == data
h.shutdown()
