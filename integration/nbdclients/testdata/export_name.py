# SPDX-License-Identifier: Apache-2.0
#
# EXPORT_NAME: a read-only disk is told so; for what there is not the connection ends.
from common import *

h = connect(export="vm1/ro", handshake=0)
assert h.get_size() == 8 * M and h.is_read_only()
assert h.pread(512, 0) == b"r" * 512
h.shutdown()
for flags in (0, nbd.HANDSHAKE_FLAG_NO_ZEROES):
    h = nbd.NBD()
    h.set_export_name("vm1/none")
    h.set_handshake_flags(flags)
    try:
        h.connect_unix(SOCKET)
        raise AssertionError("an export that there is not")
    except nbd.Error:
        assert h.aio_is_dead() or h.aio_is_closed()
