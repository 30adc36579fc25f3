# SPDX-License-Identifier: Apache-2.0
#
# ABORT ends the handshake, after other options too.
from common import *

h = connect(opt_mode=True)
h.opt_abort()
assert h.aio_is_closed()
h = connect(opt_mode=True)
h.opt_info()
h.opt_list(lambda name, description: None)
h.opt_abort()
assert h.aio_is_closed()
