# SPDX-License-Identifier: Apache-2.0
#
# LIST names every export once, as often as it is asked, and the connection goes on.
from common import *

h = connect(opt_mode=True)
for _ in range(2):
    names = []
    n = h.opt_list(lambda name, description: names.append(name))
    assert n == len(names) == len(set(names))
    assert {EXPORT, "vm1/ro", "vm1/4k"} <= set(names), names
h.opt_go()
alive(h)
h.shutdown()
