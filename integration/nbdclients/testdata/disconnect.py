# SPDX-License-Identifier: Apache-2.0
#
# DISC: what was asked before is carried out, and the server closes.
from common import *

h = connect()
data = bytearray(pattern(M))
for i in range(16):
    h.aio_pwrite(nbd.Buffer.from_bytearray(data), i * M)
h.shutdown()
assert h.aio_is_closed()
h = connect()
for i in range(16):
    assert h.pread(M, i * M) == data
h.shutdown()
