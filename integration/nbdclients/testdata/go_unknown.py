# SPDX-License-Identifier: Apache-2.0
#
# GO to what there is not is refused, and the handshake goes on to what there is.
from common import *

h = connect(export="vm1/none", opt_mode=True)
for _ in range(3):
    refused(errno.ENOENT, h.opt_go)
    assert h.aio_is_negotiating()
h.set_export_name(EXPORT)
h.opt_go()
alive(h)
h.shutdown()
h = nbd.NBD()
h.set_export_name("no/such")
refused(errno.ENOENT, h.connect_unix, SOCKET)
